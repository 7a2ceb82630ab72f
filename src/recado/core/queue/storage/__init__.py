"""The SQL of the queue. Every function runs inside a unit of work of its caller.

Two rules hold everywhere. A transaction holds a lane before it reads the lane's jobs, so two claims never take one
lane. A function that changes a lane's jobs refreshes the lane in the same transaction, so its head is never stale.
"""
