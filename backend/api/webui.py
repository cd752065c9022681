"""The operator's web pages: the chat and the control panel; a browser comes in by a one-time link."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from backend.api.pages import WEB, page

router = APIRouter(include_in_schema=False)


def signed_out_page() -> str:
    """What a person sees who opens a page without being logged in; the guard puts its reason in."""
    return (WEB / "signed_out.html").read_text("utf-8")


@router.get("/webui")
async def webui() -> RedirectResponse:
    """The page most people want."""
    return RedirectResponse("/webui/chat", 303)


@router.get("/webui/chat", response_class=HTMLResponse)
async def chat(if_none_match: Annotated[str, Header()] = "") -> Response:
    """Talk with the characters, by text and by voice."""
    return await page("chat", if_none_match)


@router.get("/webui/control", response_class=HTMLResponse)
async def control(if_none_match: Annotated[str, Header()] = "") -> Response:
    """Big buttons for a tablet beside the stage."""
    return await page("control", if_none_match)
