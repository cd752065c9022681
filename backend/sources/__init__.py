"""Where messages and sound come from: one file each, listed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.core.registry import Registry

if TYPE_CHECKING:
    from backend.sources.base import ChatSource, SoundSource

SOUND_SOURCES: Registry[SoundSource] = Registry(
    "sound source", {"microphone": "backend.sources.microphone:MicrophoneSource"}
)

CHAT_SOURCES: Registry[ChatSource] = Registry(
    "chat", {"twitch": "backend.sources.twitch:TwitchChat"}
)
