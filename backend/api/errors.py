"""Failures as they leave the API: ``{"code", "message"}``, in words for the person who must act.

A caller's mistake is never a 5xx, and a bug of ours says no more than that it happened: what it was goes to the log, and
to the operator's own answers only while DEBUG is on.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.contracts.errors import AppError, BusyError, ProviderError
from backend.core.logs import redact

logger = logging.getLogger(__name__)

SHOWN_CHARS = 60
"""How much of a wrong value is repeated in the message about it."""

DEEPEST = 100
"""Levels of a value that are repeated; orjson writes 254, and a wrong value may have a thousand."""

SECRET_WORDS = ("key", "token", "secret", "password")

UNEXPECTED = {
    "code": "internal",
    "message": "Something went wrong inside Luma. Nothing you sent was wrong; the log says what happened.",
}


class Failure(BaseModel):
    """The body of every answer that is not a success."""

    code: str = Field(description="Stable name of the failure.", examples=["not_found"])
    message: str = Field(description="What happened, with which value, and what to do.")


FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Failure, "description": "The request cannot be served; the message says why."}
}
"""For the OpenAPI document: what every route may answer."""


class JsonResponse(Response):
    """JSON by orjson: what cannot be said in JSON (NaN, lone surrogates) never becomes a server error."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return encode(content)


def encode(content: object) -> bytes:
    """``content`` as JSON; text that is no Unicode is repaired rather than refused."""
    try:
        return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
    except (orjson.JSONEncodeError, RecursionError):
        return orjson.dumps(_repaired(content), option=orjson.OPT_NON_STR_KEYS)


def _repaired(value: object, depth: int = 0) -> object:
    if depth > DEEPEST:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_repaired(key): _repaired(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_repaired(item, depth + 1) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        # Readers of JSON would lose its digits anyway; beyond a float's range there is no number to give.
        return float(value) if abs(value) < 2**1000 else None
    return value


def install(app: FastAPI, *, debug: Callable[[], bool] = lambda: False) -> None:
    """Make ``app`` answer every failure in this form; call before the guard is added around it.

    Args:
        app: The application.
        debug: Whether the operator is shown tracebacks, asked when something fails.
    """
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(Boundary, debug=debug)


async def _app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    headers = {}
    if isinstance(error, ProviderError) and error.retry_after_s is not None:
        headers["Retry-After"] = str(int(error.retry_after_s) + 1)
    elif isinstance(error, BusyError):
        headers["Retry-After"] = "1"
    return JsonResponse(failure(error), error.status, headers)


def failure(error: AppError) -> dict[str, str]:
    """The body for an error of ours; for sockets too."""
    return {"code": error.code, "message": redact(error.message)}


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(one.get("type") == "json_invalid" for one in found):
        one = found[0]
        why = one.get("ctx", {}).get("error", "it cannot be read")
        return JsonResponse(
            {
                "code": "request.malformed",
                "message": f"The body is not JSON: {why} at character {one['loc'][-1]}.",
            },
            400,
        )
    return JsonResponse({"code": "input.invalid", "message": redact(readable(found))}, 422)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code == 404:
        body = {"code": "not_found", "message": f"There is nothing at {path}. /docs lists what is."}
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "other methods")
        body = {
            "code": "method.not_allowed",
            "message": f"{path} does not take {request.method}; it takes {allowed}.",
        }
    elif error.status_code == 400:
        body = {
            "code": "request.malformed",
            "message": f"The body cannot be read: {error.detail}. Send JSON, or the form that /docs shows.",
        }
    else:
        body = {"code": f"http.{error.status_code}", "message": str(error.detail)}
    return JsonResponse(body, error.status_code, dict(error.headers or {}))


def readable(errors: Sequence[Mapping[str, Any]]) -> str:
    """Validation errors in one line: which field, what it was, what it may be."""
    parts = [_readable_one(error) for error in errors[:3]]
    if len(errors) > 3:
        parts.append(f"and {len(errors) - 3} more")
    return "; ".join(parts) + "."


def _readable_one(error: Mapping[str, Any]) -> str:
    place = [str(step) for step in error.get("loc", ()) if step not in ("body", "query", "path")]
    name = ".".join(place)[:100] or "the body"
    kind = error.get("type", "")
    if kind == "missing":
        return f"{name} is missing"
    if kind == "extra_forbidden":
        return f"there is no field {name}"
    said = str(error.get("msg", "is wrong"))
    for start in ("Input should be ", "Value error, ", "Assertion failed, "):
        said = said.removeprefix(start)
    text = (
        f"{name} must be {said}"
        if "Input should be " in str(error.get("msg"))
        else f"{name}: {said}"
    )
    if any(word in name.lower() for word in SECRET_WORDS):
        return text
    return f"{text}, not {shown(error.get('input'))}"


def shown(value: object) -> str:
    """A wrong value, short enough to repeat."""
    text = encode(value).decode() if _is_plain(value) else type(value).__name__
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | dict)


class Boundary:
    """Turns what nobody expected into a 500 that gives nothing away; the log gets the whole story."""

    def __init__(self, app: ASGIApp, *, debug: Callable[[], bool] = lambda: False) -> None:
        self.app = app
        self.debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and catch."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watching_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watching_send)
        except ClientDisconnect:
            return  # nobody is left to be told
        except Exception as error:
            logger.exception("%s %r failed", scope["method"], scope["path"][:200])
            if started:
                raise  # half an answer is out: only cutting the connection says that it is not whole
            body: dict[str, str] = dict(UNEXPECTED)
            if self.debug() and scope.get("luma.caller") == "operator":
                body["traceback"] = redact("".join(traceback.format_exception(error)))[-8000:]
            response = JsonResponse(body, 500)
            await response(scope, receive, send)
