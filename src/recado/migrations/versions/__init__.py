"""The revisions. Make one with `python -m recado.migrations.new "what changes"`."""
