"""Twitch: join a channel, leave it, log in and out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from backend.api.bodies import TwitchConnectBody, TwitchSayBody
from backend.api.errors import FAILURES
from backend.api.state import Services, services
from backend.contracts.errors import ConflictError, InvalidInputError
from backend.contracts.twitch import TwitchLogin, TwitchState, Written

router = APIRouter(prefix="/api/twitch", tags=["twitch"], responses=FAILURES)

Running = Annotated[Services, Depends(services)]
UNREACHABLE: dict[int | str, dict[str, Any]] = {
    502: {"description": "Twitch cannot be asked, or refused; says why."}
}


@router.get("")
async def get_twitch(running: Running) -> TwitchState:
    """How the connection and the login are; no token is in it."""
    return await running.twitch.look()


@router.post("/connect", responses=UNREACHABLE)
async def connect_twitch(running: Running, body: TwitchConnectBody | None = None) -> TwitchState:
    """Join a channel's chat in place of the present one; answers when it is joined, or says why it is not.

    Switches the module on. Without a login it reads and does not write. The channel is remembered, and joined again at the next start.
    """
    return await connect(running, body or TwitchConnectBody())


@router.post("/disconnect")
async def disconnect_twitch(running: Running) -> TwitchState:
    """Leave the chat; the module stays on."""
    return await running.twitch.disconnect()


@router.post("/say", responses=UNREACHABLE)
async def say_in_twitch(body: TwitchSayBody, running: Running) -> Written:
    """Write into the chat as the account that is logged in, word for word; answers when it is there, or says why it is not.

    Moderated like everything that goes out: what a rule covers is covered, what it would stop or replace is refused. It waits while
    Twitch's limit is reached. Refused during a panic.
    """
    return await say(running, body)


@router.get("/login")
async def get_twitch_login(running: Running) -> TwitchLogin:
    """How the login is: while it waits, the code and the page of Twitch where it is typed."""
    return (await running.twitch.look()).login


@router.post("/login", responses=UNREACHABLE)
async def begin_twitch_login(running: Running) -> TwitchLogin:
    """Begin a login: answers with a code and a page; ask again, or listen to `twitch.login`, for its end."""
    return await running.twitch.begin_login()


@router.post("/login/cancel")
async def cancel_twitch_login(running: Running) -> TwitchLogin:
    """Wait no longer for the code to be typed."""
    return running.twitch.cancel_login()


@router.delete("/login")
async def forget_twitch_login(running: Running) -> TwitchLogin:
    """Log out, also at Twitch; the chat is read without a login from then on."""
    return await running.twitch.forget_login()


async def connect(running: Services, body: TwitchConnectBody) -> TwitchState:
    """Join a channel, with the module switched on for it.

    Raises:
        AppError: As `ChatSource.connect`.
    """
    if not running.modules.is_on("twitch"):
        await running.modules.set_enabled("twitch", True)
    token = body.token.get_secret_value() if body.token is not None else ""
    return await running.twitch.connect(body.channel, token, is_anonymous=body.anonymous)


async def say(running: Services, body: TwitchSayBody) -> Written:
    """Write into the chat of Twitch what moderation lets out.

    Raises:
        InvalidInputError: A rule stops it.
        AppError: As `ChatSource.write`.
    """
    if running.panic.state.is_on:
        raise ConflictError(
            "Everything is stopped by the panic, and nothing is written. Press Resume, and send it again."
        )
    text = body.text.strip()
    if not text:
        raise InvalidInputError("There is nothing to write.")
    verdict = running.moderator.check_out(text)
    why = await running.moderator.refusal(text, "out")
    if why or verdict.action not in ("allow", "mask"):
        rule = f"the rule {verdict.rule}: {verdict.reason}" if not why else why
        raise InvalidInputError(
            f"Moderation keeps it out of the chat ({rule}). Say it in other words, or change the rule."
        )
    return await running.twitch.write(verdict.text)
