"""Failures as clients see them."""

from __future__ import annotations

from typing import Literal

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field

from backend.api import errors
from backend.contracts.errors import BusyError, NotFoundError, ProviderError


class Wish(BaseModel):
    """A body with one field of each kind."""

    model_config = {"extra": "forbid"}

    count: int = Field(ge=1, le=9)
    size: Literal["small", "large"] = "small"
    api_key: int | None = None


def app(*, debug: bool = False) -> FastAPI:
    made = FastAPI(docs_url=None)
    errors.install(made, debug=lambda: debug)

    @made.post("/wish")
    async def wish(body: Wish) -> Wish:
        return body

    @made.get("/missing")
    async def missing() -> None:
        raise NotFoundError("There is no such thing.")

    @made.get("/busy")
    async def busy() -> None:
        raise BusyError("Later.")

    @made.get("/provider")
    async def provider() -> None:
        raise ProviderError("Too many.", kind="rate", provider="x", retry_after_s=6.5)

    @made.get("/bug")
    async def bug() -> None:
        raise RuntimeError("secret internals")

    @made.get("/odd")
    async def odd() -> errors.JsonResponse:
        return errors.JsonResponse({"nan": float("nan"), "big": 2**70, "lone": "\ud800", 1: (2,)})

    return made


@pytest.fixture
async def client():  # type: ignore[no-untyped-def]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app()), base_url="http://x") as one:
        yield one


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"count": 12}, "count must be less than or equal to 9, not 12."),
        ({"count": "many"}, 'not "many"'),
        ({}, "count is missing."),
        ({"count": 1, "size": "huge"}, "size must be 'small' or 'large', not \"huge\"."),
        ({"count": 1, "colour": "red"}, "there is no field colour."),
        ({"count": "x" * 500}, "…"),
        ([1], "the body"),
    ],
)
async def test_a_wrong_body_is_named_with_its_value_and_what_is_allowed(
    client, body, message
) -> None:  # type: ignore[no-untyped-def]
    answer = await client.post("/wish", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "input.invalid"
    assert message in answer.json()["message"]
    assert len(answer.json()["message"]) < 200
    assert "\n" not in answer.json()["message"]


async def test_a_wrong_secret_is_not_repeated(client) -> None:  # type: ignore[no-untyped-def]
    answer = await client.post("/wish", json={"count": 1, "api_key": "hunter2"})
    assert "hunter2" not in answer.text
    assert "api_key" in answer.text


@pytest.mark.parametrize("body", [b"{", b"{'a': 1}", b"\xff\xfe", b"[" * 100_000])
async def test_what_is_no_json_is_a_400(client, body: bytes) -> None:  # type: ignore[no-untyped-def]
    answer = await client.post("/wish", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "request.malformed"


async def test_wrong_paths_and_methods_say_what_is_there(client) -> None:  # type: ignore[no-untyped-def]
    answer = await client.get("/nowhere")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    answer = await client.get("/wish")
    assert (answer.status_code, answer.json()["code"]) == (405, "method.not_allowed")
    assert "POST" in answer.json()["message"]


async def test_our_own_errors_keep_code_and_status(client) -> None:  # type: ignore[no-untyped-def]
    answer = await client.get("/missing")
    assert (answer.status_code, answer.json()) == (
        404,
        {"code": "not_found", "message": "There is no such thing."},
    )
    assert (await client.get("/busy")).headers["retry-after"] == "1"
    answer = await client.get("/provider")
    assert (answer.status_code, answer.headers["retry-after"]) == (502, "7")


async def test_a_bug_gives_nothing_away(client, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    answer = await client.get("/bug")
    assert answer.status_code == 500
    assert answer.json() == errors.UNEXPECTED
    assert "secret internals" in caplog.text


async def test_the_operator_sees_the_traceback_while_debugging() -> None:
    made = app(debug=True)

    async def as_operator(scope, receive, send):  # type: ignore[no-untyped-def]
        await made({**scope, "luma.caller": "operator"}, receive, send)

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(as_operator), base_url="http://x"
    ) as one:
        assert "secret internals" in (await one.get("/bug")).json()["traceback"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://x") as one:
        assert "traceback" not in (await one.get("/bug")).json()


async def test_numbers_and_text_that_json_cannot_hold_are_repaired(client) -> None:  # type: ignore[no-untyped-def]
    answer = await client.get("/odd")
    assert answer.status_code == 200
    assert answer.json() == {"nan": None, "big": 2.0**70, "lone": "?", "1": [2]}
