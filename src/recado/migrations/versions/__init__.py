"""The revisions. Make one with `python -m recado.migrations.new_revision "what changes"`."""
