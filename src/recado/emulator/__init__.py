"""An emulator of Twilio for demos, tests and benchmarks.

It imports nothing of the product. So a test passes because of what was sent over HTTP, and never because both sides
share a constant.
"""
