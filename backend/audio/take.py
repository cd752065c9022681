"""What is to say about a take of a guided recording, and about the noise of a room. For the engine host."""

from __future__ import annotations

from typing import Any

import numpy as np

from backend.audio.clip_measures import clipped_share, measure
from backend.audio.highpass import highpass
from backend.audio.levels import frame_levels_dbfs, from_pcm16, peak_dbfs
from backend.audio.vad import speech_spans

IDLE_S = 300.0

QUIETEST_DBFS = -120.0
LOUDEST_NOISE_DBFS = -50.0
"""A quiet room reads -60 and less, a computer's fan near the microphone -48."""
LEAST_SNR_DB = 20.0
BEST_PEAK_DBFS = (-18.0, -1.0)
"""Quieter, and the converter's own noise comes up with the voice; louder, and a laugh is clipped."""
LEAST_SPEECH_S = 0.4
LEAST_EDGE_S = 0.12
"""Silence there must be before the first and after the last word, or one of them is cut off."""
SECONDS_PER_LETTER = (0.025, 0.22)
"""From a hurried auctioneer to a very slow reader; counted over letters, so that it holds in every alphabet of sounds."""
LONGEST_S = 30.0


def check(pcm: bytes, rate_hz: int, text: str = "") -> dict[str, Any]:
    """Look at a take.

    Args:
        pcm: PCM16 mono.
        rate_hz: Samples per second.
        text: What was to be read; empty = nothing is said about its length.

    Returns:
        ``{"ok", "notes", "peak_dbfs", "noise_dbfs", "snr_db", "duration_s"}``; the notes are for the speaker, the worst first.
    """
    samples = from_pcm16(pcm)
    duration_s = samples.size / rate_hz
    told: dict[str, Any] = {
        "ok": False,
        "notes": [],
        "peak_dbfs": round(max(peak_dbfs(samples), QUIETEST_DBFS), 1),
        "noise_dbfs": QUIETEST_DBFS,
        "snr_db": 0.0,
        "duration_s": round(duration_s, 2),
    }
    spans = speech_spans(samples, rate_hz)
    speech_s = sum(end - start for start, end in spans)
    if told["peak_dbfs"] < -70:
        told["notes"] = ["Nothing came from the microphone. Is it muted, or is another one meant?"]
        return told
    if speech_s < LEAST_SPEECH_S:
        told["notes"] = ["Nobody spoke. Read the sentence aloud, then stop."]
        return told
    measures = measure(samples, rate_hz)
    told["noise_dbfs"] = round(max(measures["noise_dbfs"], QUIETEST_DBFS), 1)
    told["snr_db"] = round(measures["snr_db"], 1)
    bad: list[str] = []
    hints: list[str] = []
    if measures["clipped"] > 0.0001:
        bad.append("It is clipped: turn the microphone down or move back a little.")
    elif told["peak_dbfs"] > BEST_PEAK_DBFS[1]:
        hints.append("It is almost too loud; turn the microphone down a little.")
    if told["peak_dbfs"] < BEST_PEAK_DBFS[0] - 12:
        bad.append("It is far too quiet: turn the microphone up or come closer.")
    elif told["peak_dbfs"] < BEST_PEAK_DBFS[0]:
        hints.append("It is a little quiet; turn the microphone up or come closer.")
    if told["snr_db"] < LEAST_SNR_DB:
        bad.append(
            f"There is noise behind the voice ({told['snr_db']:.0f} dB below it, {LEAST_SNR_DB:.0f} and more are good): "
            "close the window, stop the fan, come closer."
        )
    if duration_s > LONGEST_S:
        bad.append(f"It is {duration_s:.0f} s long; a sentence takes less than {LONGEST_S:.0f}.")
    # `speech_spans` leaves room around speech: at the very edge means that the word itself reaches it.
    if _is_cut(samples, rate_hz, from_the_end=False):
        bad.append("The beginning is cut off: start recording, breathe, then speak.")
    if _is_cut(samples, rate_hz, from_the_end=True):
        bad.append("The end is cut off: finish speaking, wait a moment, then stop.")
    letters = sum(character.isalpha() for character in text)
    if letters >= 8 and _is_alphabetic(text):
        shortest_s, longest_s = (letters * one for one in SECONDS_PER_LETTER)
        if speech_s < shortest_s:
            bad.append("It is shorter than the sentence: read all of it.")
        elif speech_s > longest_s + 2.0:
            hints.append("It is much longer than the sentence; read only what is written.")
    told["ok"] = not bad
    told["notes"] = [*bad, *hints]
    return told


def room_noise(pcm: bytes, rate_hz: int) -> dict[str, Any]:
    """How noisy a room is while nobody speaks.

    Returns:
        ``{"noise_dbfs", "ok", "advice"}``.
    """
    samples = from_pcm16(pcm)
    told: dict[str, Any] = {"noise_dbfs": QUIETEST_DBFS, "ok": False, "advice": ""}
    if samples.size < rate_hz // 2:
        told["advice"] = "Too little was heard; try again."
        return told
    if not np.any(samples):
        told["advice"] = (
            "The microphone gives nothing at all, not even noise. Is it muted, or is another one meant?"
        )
        return told
    levels = frame_levels_dbfs(
        highpass(samples, rate_hz), round(0.032 * rate_hz), round(0.01 * rate_hz)
    )
    noise = float(np.median(levels))
    told["noise_dbfs"] = round(max(noise, QUIETEST_DBFS), 1)
    if clipped_share(samples) > 0.001 or float(np.percentile(levels, 95)) > noise + 20:
        told["advice"] = "Somebody spoke or something fell. Be quiet for two seconds and try again."
    elif noise > LOUDEST_NOISE_DBFS + 10:
        told["advice"] = (
            f"The room is loud ({noise:.0f} dB). Close windows, stop fans, go nearer to the microphone and turn it down."
        )
    elif noise > LOUDEST_NOISE_DBFS:
        told["advice"] = (
            f"There is some noise ({noise:.0f} dB). It works, but a quieter room gives a cleaner voice."
        )
        told["ok"] = True
    else:
        told["advice"] = f"The room is quiet ({noise:.0f} dB)."
        told["ok"] = True
    return told


def _is_cut(samples: Any, rate_hz: int, *, from_the_end: bool) -> bool:
    """Whether speech reaches an edge of the take: there it is nearly as loud as speech is."""
    edge = samples[::-1] if from_the_end else samples
    size = round(0.02 * rate_hz)
    levels = frame_levels_dbfs(samples, size, size)
    near = frame_levels_dbfs(edge[: round(LEAST_EDGE_S / 2 * rate_hz)], size, size)
    if levels.size < 10 or near.size == 0:
        return False
    return float(near.max()) > float(np.percentile(levels, 95)) - 12.0


def _is_alphabetic(text: str) -> bool:
    """Whether a letter stands for about one sound (not for a syllable or a word, as in Chinese and Japanese)."""
    return not any(
        "\u2e80" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7af" for character in text
    )
