"""The reference of the API, made from its own description: a page at `/docs`, and docs/reference/api.md.

The page is ours, without scripts: the usual ones load theirs from another site, which would then run beside the console
with the session of its reader.
"""
