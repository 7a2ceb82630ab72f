"""What the queue says to the database. Every function runs inside somebody's unit of work.

Two rules hold everywhere. The lane row is touched before its jobs are read, so two claims can never take one lane.
Whoever changes a lane's jobs calls `lanes.refresh_lanes` in the same transaction, so its head is never stale.
"""
