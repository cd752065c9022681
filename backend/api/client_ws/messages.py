"""What goes over /client-ws: one class per message of a client, one function per message to it.

Names and fields are those of the Open-LLM-VTuber protocol. Unknown fields are left alone, as that project's clients send
more than is read; camelCase spellings are taken too.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    SecretStr,
    StringConstraints,
)

from backend.contracts.avatar import Transition
from backend.contracts.entities import Character

MOST_SAMPLES = 65_536
"""Samples in one message: 4 s; clients send about 4,096."""
MOST_PICTURES = 8

THINKING = "Thinking..."
"""Clients compare it literally."""

Uid = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Samples = Annotated[
    list[Annotated[float, Field(strict=True, allow_inf_nan=False)]],
    FailFast(),
    Field(max_length=MOST_SAMPLES),
]


def _or_nothing(value: object) -> object:
    """Clients send null for what they do not have."""
    return [] if value is None else value


def _text_or_nothing(value: object) -> str | None:
    return value if isinstance(value, str) else None


class Said(BaseModel):
    """Base of every message of a client."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Nothing(Said):
    """A message that is all in its type."""


class WithPictures(Said):
    """What may bring pictures along."""

    images: Annotated[
        list[dict[str, object]], BeforeValidator(_or_nothing), Field(max_length=MOST_PICTURES)
    ] = []


class TextInput(WithPictures):
    """Something typed."""

    text: Annotated[str, StringConstraints(max_length=100_000)]


class Sound(Said):
    """A piece of microphone sound: mono, 16 kHz, -1 to 1."""

    audio: Samples


class MicEnd(WithPictures):
    """That was all."""


class AiSpeak(WithPictures):
    """Say something by yourself."""

    idle_time: float | None = Field(None, ge=-1, le=10_000_000)


class Interrupt(Said):
    """Fall silent."""

    text: Annotated[str | None, BeforeValidator(_text_or_nothing)] = None
    """What was heard; nothing else about it may keep her from falling silent."""


class DisplayText(Said):
    """What is shown of a sentence."""

    text: Annotated[str, StringConstraints(max_length=100_000)] = ""


class PlayStart(Said):
    """A sentence begins to sound at the client."""

    display_text: DisplayText | None = Field(
        None, validation_alias=AliasChoices("display_text", "displayText")
    )


class HistoryWanted(Said):
    """One history."""

    history_uid: Uid = Field(validation_alias=AliasChoices("history_uid", "historyUid"))


class SwitchConfig(Said):
    """Another character."""

    file: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class SetMode(Said):
    """Who answers this client."""

    mode: Annotated[str, StringConstraints(min_length=1, max_length=40)]


class Invite(Said):
    """Another client into the group."""

    invitee_uid: Uid = Field(validation_alias=AliasChoices("invitee_uid", "inviteeUid"))


class Remove(Said):
    """A client out of the group."""

    target_uid: Uid = Field(validation_alias=AliasChoices("target_uid", "targetUid"))


class Expression(Said):
    """A face."""

    expression_id: Annotated[int, Field(ge=0, le=1000)] | Uid = Field(
        validation_alias=AliasChoices("expression_id", "expressionId")
    )
    duration: float = Field(0, ge=0, le=86_400_000)
    priority: int = Field(0, ge=-1000, le=1000)
    transition: Transition | Annotated[float, Field(ge=0, le=60_000)] = "smooth"


class PlayMotion(Said):
    """An animation, by its group and place in it, or by its name."""

    motion_group: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        None, validation_alias=AliasChoices("motion_group", "motionGroup")
    )
    motion_index: int = Field(
        0, ge=0, le=10_000, validation_alias=AliasChoices("motion_index", "motionIndex")
    )
    motion: Uid | None = Field(None, validation_alias=AliasChoices("motion", "motion_name"))
    loop: bool = False
    priority: int = Field(0, ge=-1000, le=1000)


class TextWanted(Said):
    """A text on demand."""

    prompt: Annotated[str, StringConstraints(max_length=8_000)] = ""
    kind: str = "free"
    context: dict[str, Any] | str | None = None
    options: dict[str, Any] | None = None


class TwitchConnect(Said):
    """A channel of Twitch, and a token where one is brought."""

    channel: Annotated[str, StringConstraints(max_length=200)] = ""
    token: SecretStr | None = None


def twitch_chat(username: str, message: str, timestamp: str) -> dict[str, object]:
    """What a viewer wrote."""
    return {
        "type": "twitch-chat",
        "username": username,
        "message": message,
        "timestamp": timestamp,
    }


def control(text: str) -> dict[str, Any]:
    """An order to the client."""
    return {"type": "control", "text": text}


def error(message: str) -> dict[str, Any]:
    """What cannot be done, and why."""
    return {"type": "error", "message": message}


def full_text(text: str) -> dict[str, Any]:
    """A line that is shown, not spoken."""
    return {"type": "full-text", "text": text}


def group_update(members: list[str], *, is_owner: bool) -> dict[str, Any]:
    """Who is in the group."""
    return {"type": "group-update", "members": members, "is_owner": is_owner}


def text_chunk(text: str) -> dict[str, Any]:
    """A piece of a text on demand."""
    return {"type": "text-generation-chunk", "text": text, "is_complete": False}


def configuration(
    name: str, uid: str, client_uid: str | None = None, model: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Who the character is, and its Live2D model; where there is none, null is what clients take without harm."""
    told = {
        "type": "set-model-and-conf",
        "model_info": model,
        "conf_name": name,
        "conf_uid": uid,
    }
    return told if client_uid is None else {**told, "client_uid": client_uid}


def audio(
    sound: str | None,
    volumes: list[float],
    display_text: dict[str, str] | None,
    *,
    expressions: list[int | str] | None = None,
    forwarded: bool = False,
) -> dict[str, Any]:
    """One sentence: base64 of a whole WAV file, its loudness per 20 ms, what is shown, the faces."""
    return {
        "type": "audio",
        "audio": sound,
        "volumes": volumes,
        "slice_length": 20,
        "display_text": display_text,
        "actions": {"expressions": expressions} if expressions else {},
        "forwarded": forwarded,
    }


def display_text(text: str, character: Character) -> dict[str, str]:
    """What is shown of a sentence; clients join them as they are, so each brings its space."""
    return {"text": f"{text} " if text else "", "name": character.name, "avatar": avatar(character)}


def avatar(character: Character) -> str:
    """File below /avatars/; empty for a character without a picture."""
    return f"{character.id}.png" if character.avatar_url else ""
