"""What is made before anybody asks for it, so that nobody waits for it in the middle of a turn."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, TypeAdapter

from backend.api import pages


class Answer(BaseModel):
    """Something to be checked."""

    number: int


def program() -> FastAPI:
    router = APIRouter()

    @router.get("/number/{wanted}")
    async def number(wanted: int) -> Answer:
        return Answer(number=wanted)

    app = FastAPI()
    app.include_router(router)
    return app


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every check of a parameter or an answer that is made, which is what takes long."""
    found: list[object] = []
    make = TypeAdapter.__init__

    def note(self: Any, type_: Any, *args: Any, **options: Any) -> None:
        found.append(type_)
        make(self, type_, *args, **options)

    monkeypatch.setattr(TypeAdapter, "__init__", note)
    return found


async def test_the_first_request_finds_its_route_made(made: list[object]) -> None:
    app = program()
    pages.make_routes(app)
    assert made, "they are made now"
    made.clear()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://luma"
    ) as client:
        assert (await client.get("/number/7")).json() == {"number": 7}
    assert made == []


async def test_without_that_the_first_one_would_make_it(made: list[object]) -> None:
    app = program()
    made.clear()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://luma"
    ) as client:
        await client.get("/number/7")
    assert made, "else making routes ahead is of no use any more"
