"""Write backend/audio/formant_table.py: what each shape of the mouth sounds like, learnt from the embedded voice.

espeak-ng says when it speaks which phoneme, so its speech in several languages, timbres, pitches and rates is labelled speech without
a recording of anybody. Each sentence is also taken with a longer and a shorter vocal tract and with noise, so that what is learnt is
not espeak's own timbre. Linear discriminant analysis: one covariance for all shapes, means of their own. ``--check`` only compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import numpy.typing as npt

from backend.audio import espeak, formants
from backend.audio.levels import from_pcm16
from backend.avatar.visemes import shapes_of

TARGET = ROOT / "backend" / "audio" / "formant_table.py"
TEXTS = ROOT / "voice_trainer" / "text" / "lists"
CLASSES = ("sil", "PP", "FF", "SS", "CH", "DD", "aa", "E", "ih", "oh", "ou")
TOLD_APART_BY_SIGHT_ONLY = {"TH": "FF", "nn": "DD", "kk": "DD", "RR": "DD"}
"""What sounds too much alike is one class; of a tongue behind the teeth little is seen anyway."""
LANGUAGES = ("en-us", "de", "es", "fr", "it")
VARIANTS = ("", "+f2", "+m3", "+m7", "+f4")
SENTENCES = 5
TRACTS = (0.9, 1.0, 1.12)
NOISES_DB = (35.0, 45.0, 60.0)
PRIOR = 0.5
"""Share of how often a shape comes up that counts: all of it would never show the rare ones."""
RIDGE = 1.0


def main(args: list[str]) -> int:
    """Make the table, or say whether it is the one that is there."""
    text = table()
    if "--check" in args:
        same = TARGET.read_text("utf-8") == text
        print("up to date" if same else f"{TARGET.name} is not what the script makes; run it")
        return int(not same)
    TARGET.write_text(text, "utf-8")
    print(f"{TARGET} written")
    return 0


def table() -> str:
    """The module's text."""
    seen, labels = learnt_from()
    means = np.array([seen[labels == n].mean(axis=0) for n in range(len(CLASSES))])
    spread = RIDGE * np.eye(seen.shape[1])
    for n in range(len(CLASSES)):
        own = seen[labels == n]
        spread += np.cov(own.T) * (len(own) / len(seen))
    weights = np.linalg.solve(spread, means.T)  # (features, classes)
    often = np.array([(labels == n).mean() for n in range(len(CLASSES))])
    bias = -0.5 * (means.T * weights).sum(axis=0) + PRIOR * np.log(often)
    rows = "\n".join("    (" + ", ".join(f"{v:.4f}" for v in row) + ")," for row in weights)
    return f'''"""What each shape of the mouth sounds like; made by scripts/make_mouth_table.py from what espeak-ng speaks, not by hand."""

# fmt: off
CLASSES = {CLASSES!r}
BIAS = ({", ".join(f"{v:.4f}" for v in bias)})
WEIGHTS = (
{rows}
)
'''.replace("'", '"')


def learnt_from() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Frames and the classes they belong to; what has no shape of its own (h) is left out."""
    noise = np.random.default_rng(1)
    seen: list[npt.NDArray[np.float64]] = []
    labels: list[int] = []
    for spoken in speech():
        samples = from_pcm16(spoken.pcm)
        rms = float(np.sqrt(np.mean(samples**2)))
        for tract in TRACTS:
            level = rms * 10 ** (-float(noise.choice(NOISES_DB)) / 20)
            # Played faster, it is the voice of somebody smaller, and everything comes sooner.
            places = np.linspace(0, samples.size - 1, round(samples.size / tract))
            voice = np.interp(places, np.arange(samples.size), samples)
            voice += noise.normal(size=voice.size) * level
            found, _ = formants.features(voice.astype(np.float32), spoken.rate_hz)
            sooner = [(one, start / tract, end / tract) for one, start, end in spoken.phonemes]
            classes = labelled(sooner, len(found))
            kept = [n for n, one in enumerate(classes) if one is not None]
            seen.append(found[kept])
            labels += [one for one in classes if one is not None]
    return np.concatenate(seen), np.array(labels)


def speech() -> Iterator[espeak.Rendering]:
    """The sentences that are learnt from."""
    for n, (language, variant) in enumerate(product(LANGUAGES, VARIANTS)):
        texts = (TEXTS / f"{language}.txt").read_text("utf-8").splitlines()
        for text in [one for one in texts if one and not one.startswith("#")][n : n + SENTENCES]:
            yield espeak.synthesize(
                text,
                language + variant,
                pitch=30 + 7 * (n % 7),
                words_per_minute=140 + 15 * (n % 5),
            )


def labelled(phonemes: Sequence[tuple[str, float, float]], count: int) -> list[int | None]:
    """The class of each frame; None for sounds that look like their neighbour."""
    classes: list[int | None] = [0] * count
    for phoneme, start_s, end_s in phonemes:
        at_s = start_s
        for viseme, _, share in shapes_of(phoneme):
            until_s = at_s + (end_s - start_s) * share
            name = TOLD_APART_BY_SIGHT_ONLY.get(viseme, viseme) if viseme else None
            first = max(0, int(np.ceil(at_s / formants.FRAME_S - 0.5)))
            last = min(count, int(np.ceil(until_s / formants.FRAME_S - 0.5)))
            classes[first:last] = [CLASSES.index(name) if name else None] * max(0, last - first)
            at_s = until_s
    return classes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
