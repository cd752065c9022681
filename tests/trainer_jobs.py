"""Job folders of the quick trainer with clips of an engine voice that the base never heard, small enough for tests."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from backend.audio import espeak
from backend.audio.wav import to_wav
from voice_trainer.protocol import (
    Budget,
    ClipSpec,
    JobSpec,
    read_prompts,
    write_clips,
    write_job,
)

SHORT = (
    "Good morning.", "How are you?", "See you soon.", "Thank you.", "What a day!", "Not at all.", "Over there.",
    "Let us begin.", "Who are you?", "Never mind.",
)  # fmt: skip
"""About a second each: enough to learn by heart."""


def speak_clips(
    folder: Path,
    texts: tuple[str, ...] | list[str],
    voice: str = "en-us+f3",
    *,
    words_per_minute: float = 150,
    pitch: float = 65,
) -> list[ClipSpec]:
    """Clips of an engine voice in ``folder``/clips, and their list in clips.json."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    clips = []
    # In a process of its own: the engine's breath depends on all that it said before, in whichever test.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        said = process.submit(_speak, list(texts), voice, words_per_minute, pitch).result()
    for number, (text, spoken) in enumerate(zip(texts, said, strict=True)):
        path = folder / "clips" / f"{number:03d}.wav"
        path.write_bytes(to_wav(spoken.pcm, spoken.rate_hz))
        length_s = len(spoken.pcm) / 2 / spoken.rate_hz
        clips.append(ClipSpec(f"clip-{number:03d}", f"clips/{path.name}", text, length_s))
    write_clips(folder, clips)
    return clips


def _speak(
    texts: list[str], voice: str, words_per_minute: float, pitch: float
) -> list[espeak.Rendering]:
    return [
        espeak.synthesize(text, voice, words_per_minute=words_per_minute, pitch=pitch)
        for text in texts
    ]


def write_quick_job(folder: Path, *, steps: int = 20, **changes: Any) -> JobSpec:
    """job.json of a quick training from scratch with a narrow network, on one thread and at usual priority.

    Args:
        folder: The job folder.
        steps: Its budget.
        changes: Of the `JobSpec`; "options" are added to the usual ones.
    """
    options = {"channels": 32, "precision": "float32", "priority": "normal"}
    options |= changes.pop("options", {})
    values: dict[str, Any] = {
        "id": folder.name,
        "command": "train",
        "name": "test-voice",
        "budget": Budget(steps=steps),
        "base": "none",
        "threads": 1,
        "device": "cpu",
        "test_sentence": "Hello there.",
        "sample_every": 1_000_000,
        "options": options,
    }
    spec = JobSpec(**(values | changes))
    write_job(folder, spec)
    return spec


def prompts(language: str, count: int) -> list[str]:
    """Sentences of some seconds."""
    return read_prompts(language)[:count]
