"""The tokens that open the doors: random, made at first start, in files only this user can read."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from backend.contracts.errors import InvalidInputError

TOKEN_BYTES = 32
SHORTEST = 32
"""Characters of a token somebody chose by hand; fewer could be guessed."""


def load_or_create_token(data_dir: Path, name: str = "api_token") -> str:
    """The token in ``<data_dir>/<name>``; 256 random bits are written (0600) when there is none.

    Two processes that start at once agree on one token.

    Raises:
        InvalidInputError: If the file holds a token that is too short or has characters a header cannot carry.
    """
    path = data_dir / name
    data_dir.mkdir(parents=True, exist_ok=True)
    if not _is_empty(path):
        return read_token(path)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    new = path.with_name(f".{name}.{secrets.token_hex(4)}")
    _write_private(new, token)
    try:
        # Unlike a rename, a link never replaces what another process made in the meantime.
        os.link(new, path)
    except FileExistsError:
        if _is_empty(path):  # left by a first start that was cut off
            new.replace(path)
    except OSError:  # a file system without links
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return read_token(path)


def rotate_token(data_dir: Path, name: str) -> str:
    """Replace the token by a new one; whoever holds the old one is shut out from now on."""
    new = data_dir / f".{name}.{secrets.token_hex(4)}"
    token = secrets.token_urlsafe(TOKEN_BYTES)
    _write_private(new, token)
    new.replace(data_dir / name)
    return token


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        InvalidInputError: If there is no usable token in it, with what to do.
    """
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"The token file {path} cannot be read: {error}.") from error
    if len(token) < SHORTEST or not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token):
        raise InvalidInputError(
            f"The token file {path} holds no usable token: {SHORTEST} or more letters, digits and ._~+/=- are needed."
            " Delete the file and start again to get a new one."
        )
    with contextlib.suppress(OSError):
        path.chmod(0o600)
    return token


def _is_empty(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
