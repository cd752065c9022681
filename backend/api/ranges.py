"""Parts of a file: the Range header (RFC 9110, section 14), one range at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from fastapi.responses import Response

from backend.api.errors import JsonResponse

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def ranged(data: bytes, wanted: str, media_type: str, headers: Mapping[str, str]) -> Response:
    """``data``, or the part of it that the Range header asks for; what is no range we serve is ignored."""
    shown = {
        **headers,
        "Accept-Ranges": "bytes",
        "ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
    }
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or match.group(1) == match.group(2) == "":
        return Response(data, media_type=media_type, headers=shown)
    size = len(data)
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size - 1
    else:
        start = int(match[1])
        end = min(int(match[2]), size - 1) if match[2] else size - 1
    if start >= size or (match[2] and match[1] and int(match[2]) < start):
        return JsonResponse(
            {
                "code": "range.unsatisfiable",
                "message": f"The file has {size:,} bytes; {wanted.strip()[:60]} is not in it.",
            },
            416,
            {"Content-Range": f"bytes */{size}"},
        )
    return Response(
        data[start : end + 1],
        206,
        {**shown, "Content-Range": f"bytes {start}-{end}/{size}"},
        media_type,
    )
