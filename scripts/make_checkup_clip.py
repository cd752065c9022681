"""Make the sentence that the check-up lets the voice detector and the recogniser hear: backend/monitoring/checkup_clip.wav.

    python scripts/make_checkup_clip.py

Spoken by the embedded voice (espeak-ng, GPL-3.0-or-later), so it is as free as the program. Counting in English: the
sentence of eight tried that the embedded recogniser, the weakest of all, reads without a mistake.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from backend.audio import espeak
from backend.audio.resample import resample_pcm16
from backend.audio.wav import to_wav

TEXT = "one two three four five"
VOICE = "en-us+f3"
RATE_HZ = 16_000
TARGET = ROOT / "backend" / "monitoring" / "checkup_clip.wav"


def main() -> None:
    """Speak it and write the file."""
    spoken = espeak.synthesize(TEXT, VOICE)
    TARGET.write_bytes(to_wav(resample_pcm16(spoken.pcm, spoken.rate_hz, RATE_HZ), RATE_HZ))
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
