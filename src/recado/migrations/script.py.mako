<%
    steps = [line for line in (upgrades or "pass").splitlines() if not line.lstrip().startswith("# ###")]
%>"""${message.rstrip(".")}."""

import sqlalchemy as sa
from alembic import op

${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${"\n".join(steps).strip()}
