"""Recordings of somebody who does not exist: the embedded engine with a changed voice reads sentences aloud."""

from __future__ import annotations

from pathlib import Path

from backend.audio import espeak
from backend.audio.wav import to_wav

SENTENCES = (
    "The old lighthouse keeper waved at every passing ship.",
    "My favourite game has a dragon who only eats pancakes.",
    "Please remember to drink some water while you are playing.",
    "We found a hidden cave behind the waterfall yesterday.",
    "Three small robots were dancing under the yellow moon.",
    "Nobody expected the quiet wizard to win the final round.",
    "Thank you so much for joining the stream this evening.",
    "A curious fox jumped over the fence and ran away.",
    "The train arrived eleven minutes late because of the snow.",
    "She baked a chocolate cake that looked like a castle.",
    "Every morning he feeds the pigeons near the fountain.",
    "Could you show me how the new controller works, please?",
)


def recordings(folder: Path, count: int = 12, voice: str = "en-us+f4") -> list[tuple[Path, str]]:
    """WAV files with what is said in them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for n, text in enumerate(SENTENCES[:count]):
        spoken = espeak.synthesize(text, voice, words_per_minute=150, pitch=62)
        path = folder / f"take-{n:02d}.wav"
        path.write_bytes(to_wav(bytes(6000) + spoken.pcm + bytes(6000), spoken.rate_hz))
        made.append((path, text))
    return made


def metadata(made: list[tuple[Path, str]]) -> bytes:
    """An LJSpeech list of transcripts for them."""
    return "".join(f"{path.stem}|{text}|{text}\n" for path, text in made).encode()
