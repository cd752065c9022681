"""The web pages and what they are made of, from files that ship with the program; no network.

A page is `web/<name>.html` without a script or style inside: the guard's content policy lets scripts come from `/web/` only.
Who may open which page is the guard's business.
"""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated
from weakref import WeakKeyDictionary

from fastapi import APIRouter, FastAPI, Header, Path, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.types import Scope

from backend.contracts.errors import NotFoundError
from backend.core.workers import run_in_thread

router = APIRouter(include_in_schema=False)

WEB = FilePath(__file__).parent / "web"
VENDOR = WEB / "vendor"
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".vrm": "model/gltf-binary",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""What is served, by ending; anything else does not exist here (a vendored licence is read on disk)."""

DOCS_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "docs.js": "text/javascript",
}

# Everything by file: the guard's content policy allows no script inside the page.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Luma API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/docs.js"></script>
</body>
</html>
"""


@router.get("/docs", response_class=HTMLResponse)
async def docs() -> HTMLResponse:
    """Every route, to read and to try."""
    return HTMLResponse(PAGE)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """Every route, for programs; written when somebody asks for it first."""
    return Response(await run_in_thread(_described, request.app), media_type="application/json")


@router.get("/docs/{name}", response_class=FileResponse)
async def docs_file(name: Annotated[str, Path(max_length=64)]) -> FileResponse:
    """A script or style of the page."""
    if name not in DOCS_FILES:
        raise NotFoundError(f"There is no file {name!r} here.")
    folder = VENDOR.parent if name == "docs.js" else VENDOR / "swagger-ui"
    return FileResponse(
        folder / name,
        media_type=DOCS_FILES[name],
        headers={"Cache-Control": "private, max-age=3600"},
    )


@router.get("/overlay", response_class=HTMLResponse)
async def overlay(if_none_match: Annotated[str, Header()] = "") -> Response:
    """The stage's character, for OBS; takes the overlay token in its address."""
    return await page("overlay", if_none_match)


@router.get("/captions", response_class=HTMLResponse)
async def captions(if_none_match: Annotated[str, Header()] = "") -> Response:
    """The line that is spoken, word by word, for OBS; takes the overlay token in its address."""
    return await page("captions", if_none_match)


@router.get("/web/{path:path}")
async def web_file(
    path: Annotated[str, Path(max_length=256)], if_none_match: Annotated[str, Header()] = ""
) -> Response:
    """A script, style or picture of a page."""
    # As the disk names it: ".html/" and ".HTML" are the page as well, and whose it is depends on its own address.
    if FilePath(path).suffix.lower() == ".html":
        raise NotFoundError("A page is opened by its own address, like /overlay.")
    return await _answer(path, if_none_match)


def make_routes(app: FastAPI) -> None:
    """Have each route made now, in a worker thread: else it is done when somebody first asks for it, and everybody waits."""
    nowhere: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/.nowhere",
        "root_path": "",
        "headers": [],
        "query_string": b"",
    }
    for route in app.routes:
        route.matches(nowhere)


_documents: WeakKeyDictionary[FastAPI, bytes] = WeakKeyDictionary()


def _described(app: FastAPI) -> bytes:
    written = _documents.get(app)
    if written is None:
        written = _documents[app] = json.dumps(app.openapi(), separators=(",", ":")).encode()
    return written


async def page(name: str, if_none_match: str = "") -> Response:
    """The page `web/<name>.html`."""
    return await _answer(f"{name}.html", if_none_match)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file as it was read, and how to know that it is still the same."""

    stamp: tuple[int, int]
    content: bytes
    tag: str


_kept: dict[FilePath, _Kept] = {}


async def _answer(path: str, if_none_match: str) -> Response:
    found = await run_in_thread(_read, path)
    # Asked for at every load and answered by its tag: a page never runs with the scripts of another version.
    headers = {"ETag": found.tag, "Cache-Control": "private, no-cache"}
    kind = TYPES[FilePath(path).suffix.lower()]
    if found.tag in if_none_match:
        # With its kind: the guard's content policy for data, sent along, would replace the one of the page that is kept.
        return Response(status_code=304, headers={**headers, "Content-Type": kind})
    return Response(found.content, media_type=kind, headers=headers)


def _read(path: str) -> _Kept:
    missing = NotFoundError(f"There is no file {path[:100]!r} here.")
    if "\0" in path:
        raise missing
    try:
        wanted = (WEB / path).resolve(strict=True)
        state = wanted.stat()
    except (OSError, RuntimeError):  # not there, or a name that no disk takes
        raise missing from None
    is_ours = wanted.is_relative_to(WEB.resolve()) and stat.S_ISREG(state.st_mode)
    if not is_ours or wanted.suffix.lower() not in TYPES:
        raise missing
    stamp = (state.st_mtime_ns, state.st_size)
    known = _kept.get(wanted)
    if known is None or known.stamp != stamp:
        content = wanted.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        known = _kept[wanted] = _Kept(stamp, content, tag)
    return known
