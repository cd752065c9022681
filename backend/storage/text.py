"""Text that every database takes."""

from __future__ import annotations


def storable(text: str) -> str:
    """The text without what cannot be stored: half surrogate pairs (no UTF-8) and NUL (not in PostgreSQL)."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def storable_json(value: object) -> object:
    """The JSON value with `storable` text everywhere in it."""
    match value:
        case str():
            return storable(value)
        case dict():
            return {storable(str(key)): storable_json(each) for key, each in value.items()}
        case list() | tuple():
            return [storable_json(each) for each in value]
        case _:
            return value
