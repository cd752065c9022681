"""Wire values of listening: how the microphone is, and what became of each stretch of speech."""

from __future__ import annotations

from typing import Literal

from backend.contracts.entities import Wire

ListeningMode = Literal["off", "push_to_talk", "open"]
"""Microphone closed; open, but heard only while a key is held; heard whenever somebody speaks."""

ListeningStateName = Literal["off", "starting", "listening", "hearing", "reading", "problem"]
"""Closed; opening; waiting for speech; somebody speaks; the recogniser works; it cannot be listened to."""

EchoGuard = Literal["guard", "strict", "headphones"]
"""While she speaks: only sound that is not hers counts; nothing counts; everything counts."""

DropReason = Literal[
    "too_short", "no_words", "repetition", "phantom", "echo", "muted", "recogniser", "cancelled"
]
"""Why speech led to no message: shorter than ASR_MIN_SPEECH_MS; nothing was read; the recogniser repeated itself; words that
recognisers make up in silence; it was her own voice; muted meanwhile; the recogniser failed; taken back by the user."""


class InputDeviceInfo(Wire):
    """A microphone by the name a person knows it under."""

    name: str
    is_default: bool = False
    host_api: str = ""


class ListeningState(Wire):
    """How the microphone is.

    Attributes:
        state: What it does now.
        mode: What was chosen.
        is_talking: Push-to-talk is held.
        muted: Nothing that is said counts; the level is still shown.
        device: Chosen by name, empty = the system's.
        device_now: What is really open, empty when nothing is.
        rate_hz: Of the device; inside everything is 16 kHz.
        gain_db: Added to what the device gives.
        guard: How her own voice is kept out.
        vad: Voice detector in use ("silero", "energy").
        problem: Why it cannot be listened to, with what to do; empty = nothing is wrong.
    """

    state: ListeningStateName = "off"
    mode: ListeningMode = "off"
    is_talking: bool = False
    muted: bool = False
    device: str = ""
    device_now: str = ""
    rate_hz: int = 0
    gain_db: float = 0.0
    guard: EchoGuard = "guard"
    vad: str = ""
    problem: str = ""
