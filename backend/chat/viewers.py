"""Viewers as they may be shown: nobody's name is the operator's, and nothing unseen is in a text."""

from __future__ import annotations

import unicodedata

from backend.chat.conversations import LONGEST_AUTHOR_CHARS, LONGEST_MESSAGE_CHARS, clean
from backend.contracts.audience import AudienceMessage, Emote

NAMELESS = "a viewer"


def shown_name(name: str, platform: str, operator: str) -> str:
    """A viewer's name; with the platform behind it where it looks like the operator's."""
    shown = " ".join(clean(name[: 10 * LONGEST_AUTHOR_CHARS]).split()) or NAMELESS
    if _look(shown) in ("you", _look(operator)):
        return f"{shown[: LONGEST_AUTHOR_CHARS - len(platform) - 3]} ({platform})"
    return shown[:LONGEST_AUTHOR_CHARS]


def named(message: AudienceMessage, name: str) -> AudienceMessage:
    """The message with another name on it."""
    if name == message.viewer.name:
        return message
    viewer = message.viewer.model_copy(update={"name": name})
    return message.model_copy(update={"viewer": viewer})


def presented(message: AudienceMessage, operator: str) -> AudienceMessage:
    """The message without what cannot be seen, the places of its emotes moved along; what is too long is cut."""
    viewer = message.viewer
    name = shown_name(viewer.name, message.platform, operator)
    text = message.text[:LONGEST_MESSAGE_CHARS]
    kept = clean(text)
    changes: dict[str, object] = {}
    if kept != message.text:
        changes["text"] = kept
        changes["emotes"] = _moved(message.emotes, text, kept) if message.emotes else ()
    if name != viewer.name:
        changes["viewer"] = viewer.model_copy(update={"name": name})
    return message.model_copy(update=changes) if changes else message


def _moved(emotes: tuple[Emote, ...], text: str, kept: str) -> tuple[Emote, ...]:
    """Emotes at their places in the text that was kept: a part of the old one, in order."""
    place = [0] * (len(text) + 1)
    at = 0
    for index, char in enumerate(text):
        place[index] = at
        if at < len(kept) and kept[at] == char:
            at += 1
    place[len(text)] = at
    return tuple(
        emote.model_copy(update={"start": place[emote.start], "end": place[emote.end]})
        for emote in emotes
        if emote.start < emote.end <= len(text)
    )


def _look(name: str) -> str:
    """What is left of a name when letters of other widths and what cannot be seen are no difference."""
    plain = unicodedata.normalize("NFKC", name)
    return "".join(char for char in plain if char.isalnum()).casefold()
