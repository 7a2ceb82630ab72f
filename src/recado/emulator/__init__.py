"""Stands in for Twilio where nobody wants to pay, wait or be flaky: demos, tests and benches.

It knows nothing of the product it answers. That keeps it honest: what passes here passes because of what travels over
HTTP, never because both sides share a constant.
"""
