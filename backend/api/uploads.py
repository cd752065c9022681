"""Files that come with a form."""

from __future__ import annotations

from fastapi import UploadFile

from backend.contracts.errors import InvalidInputError, TooLargeError


async def read_upload(file: UploadFile, limit_bytes: int) -> bytes:
    """The file's content.

    Raises:
        TooLargeError: It holds more than ``limit_bytes``.
        InvalidInputError: It holds nothing.
    """
    data = await file.read(limit_bytes + 1)
    name = repr((file.filename or "the file")[:80])
    if len(data) > limit_bytes:
        raise TooLargeError(f"{name} is larger than {limit_bytes // (1024 * 1024)} MiB.")
    if not data:
        raise InvalidInputError(f"{name} is empty.")
    return data
