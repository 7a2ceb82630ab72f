"""What can be wrong with an endpoint."""

from recado.core.errors import DomainError


class TooManyEndpoints(DomainError):
    """An owner has as many endpoints as there may be."""

    code = "events.too_many_endpoints"
    status = 409


class EndpointDisabled(DomainError):
    """The endpoint is switched off; nothing is sent to it."""

    code = "events.endpoint_disabled"
    status = 409


class EndpointFull(DomainError):
    """So many events wait for the endpoint that no further one is sent again."""

    code = "events.endpoint_full"
    status = 409
