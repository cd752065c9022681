"""The API's own page: Swagger UI from files that ship with the program, no network."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse, HTMLResponse

from backend.contracts.errors import NotFoundError

router = APIRouter(include_in_schema=False)

VENDOR = FilePath(__file__).parent / "web" / "vendor"
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
