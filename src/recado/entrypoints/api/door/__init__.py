"""The door of the API: who may come in, and what all routes have in common.

A router is built by a function that takes the door and the services that it calls:

    def numbers_router(door: Door, numbers: NumberService, reading: ChannelsReading) -> APIRouter:
        router = door.router("numbers")

        @router.get("/numbers/{number_id}", summary="One number")
        async def number(principal: Annotated[Principal, door.allows("numbers.read")], number_id: UUID) -> NumberView:
            return NumberView.of(await reading.number(principal.owner_id, number_id))

        @router.patch("/numbers/{number_id}", summary="Change a number", responses=problems(409, 412, 428))
        async def change(
            principal: Annotated[Principal, door.allows("numbers.write", knows=reading.number)],
            number_id: UUID,
            if_match: IfMatch,
            body: NumberChange,
            response: Response,
        ) -> NumberView: ...

        return router

Rules: a path parameter is an id and its name ends in `_id`. Bodies are `Input`s and answers `Output`s. A list is
`PageOf[View]` with `limit: Limit = DEFAULT_LIMIT` and `cursor: Cursor = None`. Services raise `DomainError`s, which
become problems. A status that not every route has is named in `responses=problems(…)`. `routes.py` says in which order
a request is looked at.
"""
