"""Which checks a check-up consists of, made from the running parts that the application hands over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backend.contracts.checkup import CheckupReport
from backend.contracts.entities import Audio, Character, ModelInfo, VoiceInfo
from backend.contracts.listening import ListeningState
from backend.engines.llm.base import LLM
from backend.engines.stt.base import STT
from backend.engines.tts.base import TTS
from backend.engines.vad.base import VAD
from backend.monitoring import live_checks, machine_checks
from backend.monitoring.doctor import Check, Doctor, Outcome
from backend.monitoring.gpu import GpuLoad
from backend.monitoring.live_checks import Spoken, Stage
from backend.monitoring.machine_checks import Door
from backend.storage.checkup import DatabaseState

VOICE_LANE = "voice"
"""The pieces of the live path one after the other: one sound at a time, and none slows down the figures of another."""

LLM_PATIENCE_S = 3.0
"""Beyond the provider's own timeout: the next engine may answer then."""
LONGEST_LLM_S = 26.0


@dataclass(frozen=True, slots=True)
class Values:
    """Settings as they are now.

    Attributes:
        mind: Engine that is meant to answer on stage.
        problems: Engines left out at the start ("llm/openai"), and why.
        vad: Voice detector chosen.
        vad_threshold: Probability from which sound is speech.
        first_token_s: Longest wait for a provider's first token.
        tts_s: Longest wait for a sentence's sound.
        folders: What lies where.
        wanted_port: API_PORT.
        is_remote: Other machines can reach it.
        is_secure: HTTPS.
        notices: What was said about settings and database at the start.
    """

    mind: str
    problems: Mapping[str, str]
    vad: str
    vad_threshold: float
    first_token_s: float
    tts_s: float
    folders: Mapping[str, Path]
    wanted_port: int
    is_remote: bool
    is_secure: bool
    notices: tuple[str, ...]


@dataclass(slots=True)
class LiveParts:
    """The running parts; asked anew for every check-up.

    Attributes:
        values: Settings.
        record: So many seconds of the microphone, as listening gets them.
        listening: How the microphone is.
        detector: A voice detector of its own, made as listening makes one.
        stt: The chain of recognisers.
        llm: The chain of language models.
        tts: The chain of speech engines.
        character: Who is on stage.
        stage: The stage's output.
        without_echo: Runs something that plays, while the microphone takes nothing for speech.
        database: Tries it out.
        newest_event: When the newest stored event happened.
        models: The catalogue with what is here.
        voices: Voices of the engines.
        requirements: The list of libraries.
        free_bytes: Room at a place.
        gpu: Load of the graphics card.
    """

    values: Callable[[], Values]
    record: Callable[[float], Awaitable[Audio]]
    listening: Callable[[], ListeningState]
    detector: Callable[[], VAD]
    stt: Callable[[], STT]
    llm: Callable[[], LLM]
    tts: Callable[[], TTS]
    character: Callable[[], Awaitable[Character]]
    stage: Callable[[], Stage]
    without_echo: Callable[[Callable[[], Awaitable[Outcome]]], Awaitable[Outcome]]
    database: Callable[[], Awaitable[DatabaseState]]
    newest_event: Callable[[], Awaitable[datetime | None]]
    models: Callable[[], Awaitable[list[ModelInfo]]]
    voices: Callable[[], Awaitable[list[VoiceInfo]]]
    requirements: Path
    free_bytes: Callable[[Path], int]
    gpu: Callable[[], GpuLoad | None] = machine_checks.gpu_load


class Checkup:
    """Check-ups of the running program; all methods in the backend's loop.

    Args:
        doctor: Runs the checks.
        parts: What they try.
    """

    def __init__(self, doctor: Doctor, parts: LiveParts) -> None:
        self._doctor = doctor
        self.parts = parts

    @property
    def report(self) -> CheckupReport:
        """What the running or last check-up has found."""
        return self._doctor.report

    def start(
        self, *, microphone: bool, sound: bool, host: str | None = None, port: int | None = None
    ) -> CheckupReport:
        """Begin.

        Args:
            microphone: Whether the microphone may be opened for a moment.
            sound: Whether a sentence may be played on the stage's device.
            host: Where the asker has reached the backend; None when not over a network.
            port: Likewise.

        Raises:
            ConflictError: One runs already, or a turn does.
        """
        left_out = {}
        if not microphone:
            left_out["microphone"] = "not asked for; no microphone was opened"
        if not sound:
            left_out["output"] = "not asked for; nothing was played"
        return self._doctor.start(self._checks(host, port), left_out=left_out)

    async def cancel(self) -> CheckupReport:
        """Stop the running one."""
        return await self._doctor.cancel()

    async def wait(self) -> CheckupReport:
        """Wait for the end of the running one."""
        return await self._doctor.wait()

    def _checks(self, host: str | None, port: int | None) -> list[Check]:
        parts = self.parts
        values = parts.values()
        spoken = Spoken()
        door = Door(host, port, values.wanted_port, values.is_remote, values.is_secure)

        async def microphone() -> Outcome:
            return await live_checks.microphone(parts.record, parts.listening)

        async def vad() -> Outcome:
            return await live_checks.detector(parts.detector(), values.vad, values.vad_threshold)

        async def stt() -> Outcome:
            return await live_checks.recogniser(parts.stt())

        async def llm() -> Outcome:
            wanted = values.mind
            problem = values.problems.get(f"llm/{wanted}", "")
            return await live_checks.mind(parts.llm(), wanted, problem, await parts.character())

        async def tts() -> Outcome:
            return await live_checks.voice(parts.tts(), (await parts.character()).voice, spoken)

        async def output() -> Outcome:
            return await parts.without_echo(lambda: live_checks.output(parts.stage(), spoken))

        async def database() -> Outcome:
            return await machine_checks.database(parts.database)

        async def disk() -> Outcome:
            return await asyncio.to_thread(machine_checks.disk, values.folders, parts.free_bytes)

        async def gpu() -> Outcome:
            return await asyncio.to_thread(machine_checks.gpu, parts.gpu)

        async def models() -> Outcome:
            voice = (await parts.character()).voice
            return await machine_checks.models(parts.models, parts.voices, voice.name)

        async def clock() -> Outcome:
            return machine_checks.wall_clock(await parts.newest_event())

        async def settings() -> Outcome:
            return machine_checks.settings(values.notices)

        async def libraries() -> Outcome:
            return await asyncio.to_thread(machine_checks.libraries, parts.requirements)

        live = VOICE_LANE
        patience_s = min(values.first_token_s + LLM_PATIENCE_S, LONGEST_LLM_S)
        return [
            Check(
                "microphone",
                "Microphone",
                microphone,
                6.0,
                "Unplug it and plug it in again, or choose another microphone.",
                lane=live,
                gives_way=True,
                setting="ASR_INPUT_DEVICE",
            ),
            Check(
                "vad",
                "Voice detector",
                vad,
                5.0,
                "Choose the other one with ASR_VAD.",
                lane=live,
                gives_way=True,
                setting="ASR_VAD",
            ),
            Check(
                "stt",
                "Speech to text",
                stt,
                16.0,
                "Choose a smaller model with WHISPER_MODEL, or put sphinx first in STT_CHAIN.",
                lane=live,
                gives_way=True,
                setting="STT_CHAIN",
            ),
            Check(
                "llm",
                "Language model",
                llm,
                patience_s,
                "Lower LLM_FIRST_TOKEN_TIMEOUT_S so that the next engine takes over sooner, or choose another"
                " LLM_PROVIDER.",
                gives_way=True,
                setting="LLM_PROVIDER",
            ),
            Check(
                "tts",
                "Voice",
                tts,
                min(values.tts_s + 1.0, 8.0),
                "Put embedded first in TTS_CHAIN.",
                lane=live,
                gives_way=True,
                setting="TTS_CHAIN",
            ),
            Check(
                "output",
                "Sound output",
                output,
                8.0,
                "Choose another output device in the Chat tab.",
                lane=live,
                gives_way=True,
                setting="OUTPUT_DEVICE",
            ),
            Check(
                "database",
                "Database",
                database,
                10.0,
                "The disk does not answer: look whether it is full or fails, or move DATA_DIR.",
                setting="DATA_DIR",
            ),
            Check("disk", "Disk space", disk, setting="DATA_DIR"),
            Check("gpu", "Graphics card", gpu),
            Check("port", "Port", lambda: machine_checks.door(door), setting="API_PORT"),
            Check("models", "Voices and models", models, 10.0, "The disk of MODELS_DIR is slow."),
            Check("clock", "Clock", clock),
            Check("settings", "Settings", settings),
            Check("libraries", "Libraries", libraries),
        ]
