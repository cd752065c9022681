"""A text on demand as clients of this socket ask for it: other spellings, and fields that nobody here knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.api.bodies import TextBody, TextContext, TextOptions
from backend.api.client_ws import messages

SPELLINGS = {
    "maxLength": "max_length",
    "chat_history": "history",
    "chatHistory": "history",
    "stream_info": "stream",
    "streamInfo": "stream",
    "persona": "character",
}


def text_body(said: messages.TextWanted, conversation_id: str) -> TextBody:
    """The request as it is everywhere else.

    Args:
        said: The message.
        conversation_id: Where the client talks: its own turns are looked at, nobody else's.

    Raises:
        pydantic.ValidationError: A field that is known holds something else.
    """
    context = (
        {"history": [{"text": said.context}]} if isinstance(said.context, str) else said.context
    )
    known = _known(context or {}, TextContext.model_fields)
    if known.get("history") == [{"text": ""}]:
        del known["history"]
    return TextBody.model_validate(
        {
            "prompt": said.prompt,
            "kind": said.kind,
            "context": {**known, "conversation_id": conversation_id},
            "options": _known(said.options or {}, TextOptions.model_fields),
        }
    )


def _known(given: Mapping[str, Any], fields: Mapping[str, object]) -> dict[str, Any]:
    """The fields that mean something here; null is the same as leaving one out."""
    spelled = {SPELLINGS.get(name, name): value for name, value in given.items()}
    return {name: value for name, value in spelled.items() if name in fields and value is not None}
