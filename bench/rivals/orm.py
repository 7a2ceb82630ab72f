"""The obvious stack: FastAPI, a form model, an async ORM session and a commit per request, over aiosqlite.

    python bench/rivals/orm.py PORT PUBLIC_URL AUTH_TOKEN DATABASE_FILE

It checks the same signature with the same code, has the same uniqueness rule and the same durability (WAL, FULL), and
it does less: one row per message, no lane, no job. Two things are in its favour: its writers queue in the process
instead of colliding in SQLite (without that it is slower, and fails some requests), and its session has one connection
that stays open.
"""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import UniqueConstraint, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uvicorn_settings import serve

from recado.channels.twilio.webhook.signature import candidate_urls, first_matching_token
from recado.core.clock import SystemClock
from recado.core.ids import UuidV7

_, _, PUBLIC_URL, TOKEN, DATABASE = sys.argv
TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'

clock = SystemClock()
ids = UuidV7(clock)
engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}", pool_size=1, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)
one_writer = asyncio.Lock()


@event.listens_for(engine.sync_engine, "connect")
def _connect(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class Base(DeclarativeBase):
    pass


class Message(Base):
    __tablename__ = "messages"
    __table_args__ = (UniqueConstraint("account_sid", "message_sid"),)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_sid: Mapped[str]
    message_sid: Mapped[str]
    from_address: Mapped[str]
    to_address: Mapped[str]
    text: Mapped[str]
    profile_name: Mapped[str | None]
    raw: Mapped[bytes]
    received_at: Mapped[datetime]


class InboundForm(BaseModel):
    message_sid: str = Field(alias="MessageSid", pattern=r"^[A-Z]{2}[0-9a-f]{32}$")
    account_sid: str = Field(alias="AccountSid", pattern=r"^AC[0-9a-f]{32}$")
    from_address: str = Field(alias="From")
    to_address: str = Field(alias="To")
    text: str = Field(alias="Body")
    profile_name: str | None = Field(default=None, alias="ProfileName")


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan, telemetry={"tracing": False, "metrics": False, "logs": False})


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    return {"status": "ready"}


@app.post("/webhooks/twilio/messages")
async def receive(request: Request) -> Response:
    raw = await request.body()
    fields = await request.form()
    urls = candidate_urls(PUBLIC_URL, request.scope["raw_path"], request.scope["query_string"])
    pairs = [(name, str(value)) for name, value in fields.multi_items()]
    if first_matching_token((TOKEN,), urls, pairs, request.headers.get("X-Twilio-Signature", "")) is None:
        return Response(status_code=403)
    form = InboundForm.model_validate(dict(fields))
    message = Message(id=ids.new(), raw=raw, received_at=clock.now(), **form.model_dump())
    async with one_writer, sessions() as session:
        session.add(message)
        try:
            await session.commit()
        except IntegrityError:
            await session.rollback()  # Seen before.
    return Response(TWIML, media_type="text/xml")


if __name__ == "__main__":
    serve(app)
