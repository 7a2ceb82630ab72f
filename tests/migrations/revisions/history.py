"""The tables of the code as an earlier revision had them."""

from typing import Final

from sqlalchemy import MetaData

from recado.bootstrap import metadata
from recado.core.database.tenancy import FUNCTIONS

MADE_BY: Final = {
    "0101": {"api_keys", "audit_entries", "idempotency_keys", "sessions", "sign_in_failures", "user_links"},
    "0104": {"event_numbers", "events"},
    "0105": {"search_documents"},
    "0106": {"event_deliveries", "event_endpoints"},
    "0107": {"usage_days"},
    "0112": {"bulk_operations"},
    "0114": {"number_agents"},
}
"""The tables that each revision made."""
FUNCTIONS_SINCE: Final = "0109"
"""The first revision with functions for tenants."""


def tables_at(revision: str) -> MetaData:
    """Return the tables that there are after a revision: row-level security is given to each of them."""
    later = {name for made_by, made in MADE_BY.items() if made_by > revision for name in made}
    found = MetaData()
    found.info.update(metadata().info)
    if revision < FUNCTIONS_SINCE:
        found.info.pop(FUNCTIONS)
    for table in metadata().sorted_tables:
        if table.name not in later:
            table.to_metadata(found)
    return found
