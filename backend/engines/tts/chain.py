"""Engines in order of preference, then silence: text always appears, and a broken engine costs one wait, not many.

A sentence never takes longer than the time limit, whatever hangs. An engine that hung is left out for the rest of the
turn, and when it hangs again for growing pauses; one that fails quickly is left out after three failures in a row.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from backend.contracts.entities import Speech, VoiceChoice, VoiceInfo
from backend.contracts.errors import (
    AppError,
    EngineFailedError,
    EngineUnavailableError,
    ProviderError,
)
from backend.core import clock
from backend.core.context import current_turn
from backend.engines.tts.base import is_speakable, silence
from backend.engines.tts.options import ChainOptions

logger = logging.getLogger(__name__)

SHARE = 0.75  # of the time left goes to an engine while another waits behind it
FAILURES = 3  # quick ones in a row
FIRST_REST_S = 15.0
LONGEST_REST_S = 300.0
READING_CHAR_S = 0.05  # silence is about as long as reading the text takes


@dataclass(slots=True)
class _Record:
    """How an engine has done lately."""

    hangs: int = 0
    failures: int = 0
    rests_until: float = 0.0
    turn_id: str = ""
    """The turn in which it was sent to rest."""
    told: tuple[str, str] = ("", "")
    """The turn and code of the failure told last."""


class Chain:
    """Speaks with the first engine that can."""

    name = "chain"

    def __init__(self, options: ChainOptions) -> None:
        self._options = options
        self._engines = {engine.name: engine for engine in options.engines}
        self._order = list(self._engines)
        self._records = {name: _Record() for name in self._engines}

    @property
    def order(self) -> list[str]:
        """Names of the engines, first choice first."""
        return list(self._order)

    def set_order(self, names: Iterable[str]) -> None:
        """Try these, in this order, from the next sentence on.

        Raises:
            EngineUnavailableError: If one is not part of the chain.
        """
        wanted = list(dict.fromkeys(names))
        for name in wanted:
            if name not in self._engines:
                raise EngineUnavailableError(
                    f"There is no speech engine called {name!r}; choose from {', '.join(self._engines)}."
                )
        self._order = wanted

    def resting(self) -> dict[str, float]:
        """Engines that are left out right now, and for how many seconds."""
        now_s = clock.monotonic_s()
        return {
            name: record.rests_until - now_s
            for name, record in self._records.items()
            if record.rests_until > now_s
        }

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        """Speak; never fails but by cancellation. ``engine`` is "silence" when nothing could."""
        if not is_speakable(text):
            return silence("silence", "silence")
        voice = self._resolved(voice)
        ends_s = clock.monotonic_s() + self._options.timeout_s
        attempts = self._attempts(voice)
        failed: set[str] = set()
        while attempts:
            name, choice = attempts.pop(0)
            left_s = ends_s - clock.monotonic_s()
            if name in failed or left_s <= 0:
                continue
            has_next = any(other not in failed | {name} for other, _ in attempts)
            try:
                return await self._speak(name, text, choice, left_s * (SHARE if has_next else 1.0))
            except EngineUnavailableError as error:
                # Piper without a voice is the normal state of a fresh machine, not news.
                if name == voice.engine:
                    self._report(name, error)
                else:
                    logger.debug("%s cannot speak: %s", name, error)
            except AppError as error:
                failed.add(name)
                self._report(name, error)
        return silence("silence", "silence", min(max(len(text) * READING_CHAR_S, 0.3), 3.0))

    async def voices(self) -> list[VoiceInfo]:
        """The voices of all engines, in order."""
        found: list[VoiceInfo] = []
        for name in self._order:
            try:
                found += await self._engines[name].voices()
            except AppError as error:
                found.append(VoiceInfo(engine=name, name="", title=name, problem=error.message))
        return found

    def cache_key(self, voice: VoiceChoice) -> str:
        voice = self._resolved(voice)
        return "|".join(
            f"{name}:{self._engines[name].cache_key(choice)}"
            for name, choice in self._attempts(voice)
        )

    def warm(self) -> None:
        for name in self._order:
            self._engines[name].warm()

    async def close(self) -> None:
        for engine in self._engines.values():
            await engine.close()

    def _resolved(self, voice: VoiceChoice) -> VoiceChoice:
        """The voice behind an alias, with the caller's speed, pitch and volume where they say something."""
        target = self._options.aliases.get(voice.name)
        if target is None or voice.engine:
            return voice
        said = {name: getattr(voice, name) for name in voice.model_fields_set - {"name", "engine"}}
        return target.model_copy(update=said)

    def _attempts(self, voice: VoiceChoice) -> list[tuple[str, VoiceChoice]]:
        """Who tries, with which voice, in order."""
        plain = voice.model_copy(update={"engine": "", "name": "", "speaker": None})
        names = list(self._order)
        if voice.engine in self._engines:
            names = [voice.engine, *(name for name in names if name != voice.engine)]
        names = self._awake(names)
        attempts = [(name, voice if voice.engine in ("", name) else plain) for name in names]
        if voice.name and not voice.engine:  # nobody may know that name: then anybody's own voice
            attempts += [(name, plain) for name in names]
        return attempts

    def _awake(self, names: list[str]) -> list[str]:
        resting = self.resting()
        awake = [name for name in names if name not in resting]
        if awake:
            return awake
        # Rather than stay silent a new turn asks again, once per turn.
        turn_id = _turn_id()
        return [name for name in names if self._records[name].turn_id != turn_id]

    async def _speak(self, name: str, text: str, voice: VoiceChoice, limit_s: float) -> Speech:
        record = self._records[name]
        began_s = clock.monotonic_s()
        try:
            async with asyncio.timeout(limit_s):
                speech = await self._engines[name].synthesize(text, voice)
        except TimeoutError:
            self._rest(record, is_hang=True)
            raise EngineFailedError(
                f"{name} did not speak within {limit_s:.1f} s; it is left out for now."
            ) from None
        except EngineUnavailableError:
            raise
        except AppError as error:
            took_long = clock.monotonic_s() - began_s > limit_s * SHARE
            stalled = isinstance(error, ProviderError) and error.kind == "stalled"
            self._rest(record, is_hang=took_long or stalled)
            raise
        except Exception as error:  # a defect in one engine must not silence the others
            logger.exception("%s failed", name)
            self._rest(record, is_hang=False)
            raise EngineFailedError(f"{name} failed: {type(error).__name__}: {error}") from error
        record.hangs = record.failures = 0
        record.rests_until = 0.0
        return speech

    def _rest(self, record: _Record, *, is_hang: bool) -> None:
        record.failures += 1
        record.hangs += is_hang
        if is_hang or record.failures >= FAILURES:
            times = max(record.hangs, record.failures - FAILURES + 1)
            rest_s = min(FIRST_REST_S * 2 ** (times - 1), LONGEST_REST_S)
            record.rests_until = clock.monotonic_s() + rest_s
            record.turn_id = _turn_id()

    def _report(self, name: str, error: AppError) -> None:
        """Tell the operator, once a turn and not with every sentence of it."""
        record, news = self._records[name], (_turn_id(), error.code)
        if news[0] and news == record.told:
            logger.debug("%s: %s", name, error.message)
            return
        record.told = news
        logger.warning("%s: %s", name, error.message)
        if self._options.on_failure is not None:
            self._options.on_failure(name, error)


def _turn_id() -> str:
    turn = current_turn.get()
    return turn.turn_id if turn else ""
