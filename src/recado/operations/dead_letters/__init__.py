"""Dead letters for people and programs: list them, retry or discard one, or many by a job."""
