"""How long tests wait for what must come: long enough for a machine whose every core is busy with something else."""

from typing import Final

PATIENCE: Final = 60.0
