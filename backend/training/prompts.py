"""Sentences to read aloud, and which of them a speaker has read or should read next."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from backend.contracts.errors import NotFoundError
from backend.contracts.training import Prompt
from backend.training.clips import Clips
from backend.training.doctor import Doctor
from backend.training.speakers import Speakers
from voice_trainer.protocol import prompt_language, prompt_lists, read_prompts


class Prompts:
    """The lists, seen by a speaker; all methods are for the backend's loop."""

    def __init__(self, speakers: Speakers, clips: Clips, doctor: Doctor) -> None:
        self._speakers = speakers
        self._clips = clips
        self._doctor = doctor

    async def languages(self) -> list[str]:
        """Languages that there are lists for."""
        return list(await asyncio.to_thread(prompt_lists))

    async def listed(self, language: str, speaker_id: str) -> list[Prompt]:
        """The sentences of a language, best first; empty when there is no list.

        Args:
            language: Empty = the speaker's.
            speaker_id: Whose progress is marked; empty = nobody's.

        Raises:
            NotFoundError: There is no such speaker.
        """
        recorded: set[str] = set()
        suggested: tuple[str, ...] = ()
        if speaker_id:
            speaker = self._speakers.known(speaker_id)
            language = language or speaker.language
            rows = await self._clips.of_speaker(speaker_id)
            recorded = {row.prompt_id for row in rows if row.prompt_id and row.status != "rejected"}
            try:
                suggested = (await self._doctor.report(speaker_id)).suggestions
            except NotFoundError:
                suggested = ()
        found = await asyncio.to_thread(_prompts, language or "en-us")
        return [
            one.model_copy(
                update={
                    "recorded": one.id in recorded,
                    "suggested": one.id in suggested and one.id not in recorded,
                }
            )
            for one in found
        ]

    async def get(self, prompt_id: str) -> Prompt:
        """One sentence.

        Raises:
            NotFoundError: There is none of that id.
        """
        language = prompt_id.rpartition("-")[0]
        for one in await asyncio.to_thread(_prompts, language):
            if one.id == prompt_id:
                return one
        raise NotFoundError(
            f"There is no prompt {prompt_id[:64]!r}. GET /api/voice/prompts lists them."
        )


@lru_cache(maxsize=64)
def _prompts(language: str) -> tuple[Prompt, ...]:
    name = prompt_language(language)
    return tuple(
        Prompt(id=f"{name}-{number}", language=name, text=text)
        for number, text in enumerate(read_prompts(language), 1)
    )
