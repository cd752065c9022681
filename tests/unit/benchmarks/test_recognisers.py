"""The benchmark of recognisers mixes the noise that it says it does, and tells all that it measured."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from benchmarks.recognisers import LENGTHS_S, MIDDLE_S, RATE_HZ, Row, Rows, report, with_noise


@pytest.mark.parametrize("snr_db", [20.0, 10.0])
def test_noise_lies_as_far_below_the_speech_as_it_says(snr_db: float) -> None:
    tone = 0.2 * np.sin(2 * np.pi * 220 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    mixed = with_noise(tone, snr_db, seed=1)
    room = round(0.3 * RATE_HZ)
    noise = mixed.copy()
    noise[room : room + tone.size] -= tone
    loud = float(np.sqrt(np.mean(np.square(tone))))
    measured = 20 * np.log10(loud / float(np.sqrt(np.mean(np.square(noise)))))
    assert measured == pytest.approx(snr_db, abs=0.5)
    assert with_noise(tone, None, seed=1)[: room // 2].max() == 0


def test_the_page_compares_processor_time_with_the_direct_call() -> None:
    rows: Rows = defaultdict(Row)
    for label, cpu_ms in (("openai-whisper", 800.0), ("faster_whisper", 200.0)):
        for seconds in LENGTHS_S:
            rows[label, "base", seconds] = Row([cpu_ms / 2], [cpu_ms])
    page = report(rows, {}, [("flite slt", "clean", 0.25, 100)], "1.0 to 2.0", 1)
    assert f"| faster_whisper | base | 100 | 200 | {0.2 / MIDDLE_S:.2f} | 0.25 |" in page
    assert "| flite slt | 0.25 | 100 |" in page
