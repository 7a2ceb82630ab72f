"""Whether the process lives and can serve: `/healthz` and `/readyz`."""

from fastapi import FastAPI, Response
from pydantic import BaseModel

from recado.operations.readiness import BrokerStatus, Readiness


class Health(BaseModel):
    """Whether the process lives, or can serve, and the reason if it cannot."""

    status: str
    why: str | None = None


class BrokerHealth(BaseModel):
    """The state of the broker. It never makes a server unready: messages are received and stored without it."""

    name: str
    reachable: bool | None
    warnings: list[str]
    detail: dict[str, str]


class ReadyHealth(Health):
    """Whether the process can serve. `broker` is absent when the database wakes workers by itself."""

    broker: BrokerHealth | None = None


def add_health(app: FastAPI, readiness: Readiness) -> None:
    @app.get("/healthz", tags=["operations"], summary="The process lives")
    async def healthz() -> Health:
        return Health(status="ok")

    @app.get(
        "/readyz",
        tags=["operations"],
        summary="It can serve",
        responses={503: {"model": ReadyHealth}},
        response_model_exclude_unset=True,
    )
    async def readyz(response: Response) -> ReadyHealth:
        verdict = await readiness.check()
        status = "ready" if verdict.why is None else "unready"
        if verdict.why is not None:
            response.status_code = 503
        if verdict.broker is None:
            return ReadyHealth(status=status, why=verdict.why)
        return ReadyHealth(status=status, why=verdict.why, broker=_broker_health(verdict.broker))


def _broker_health(broker: BrokerStatus) -> BrokerHealth:
    return BrokerHealth(
        name=broker.name, reachable=broker.reachable, warnings=list(broker.warnings), detail=dict(broker.detail)
    )
