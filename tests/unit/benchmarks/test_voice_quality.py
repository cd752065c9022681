"""The scores of the voice benchmark, and that its grid is the one the closing note owes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from backend.audio import espeak
from backend.audio.levels import from_pcm16
from benchmarks import voice_quality, voice_scores
from voice_trainer import protocol


def said(text: str, voice: str = "en-us") -> voice_scores.Sound:
    found = espeak.synthesize(text, voice)
    return voice_scores.Sound(from_pcm16(found.pcm), found.rate_hz)


def test_words_are_counted_without_marks_and_case():
    assert voice_scores.words("It's late, Anna!") == ["it's", "late", "anna"]
    assert voice_scores.edits(["a", "b", "c"], ["a", "c", "d"]) == 2
    assert voice_scores.edits("kitten", "sitting") == 3


@pytest.mark.slow
def test_the_distance_is_that_of_the_voice_not_of_loudness_or_speed():
    here = said("Nobody minds the rain.")
    quiet = voice_scores.Sound(here.samples * np.float32(0.3), here.rate_hz)
    slow = espeak.synthesize("Nobody minds the rain.", "en-us", words_per_minute=140)
    other = said("Nobody minds the rain.", "en-us+f4")
    assert voice_scores.mel_cepstral_distance(here, here) == pytest.approx(0.0, abs=1e-6)
    assert voice_scores.mel_cepstral_distance(here, quiet) < 0.1
    slower = voice_scores.Sound(from_pcm16(slow.pcm), slow.rate_hz)
    assert voice_scores.mel_cepstral_distance(here, slower) < voice_scores.mel_cepstral_distance(
        here, other
    )


def test_the_grid_has_every_cell_of_slt_and_two_corners_of_every_other_voice():
    cells = {(cell.voice, cell.minutes, cell.seconds) for cell in voice_quality.GRID}
    assert len(cells) == len(voice_quality.GRID)
    for minutes in (0.4, 1.2, 4.0, 8.0):
        for seconds in (45, 90, 180, 300):
            assert ("slt", minutes, seconds) in cells
    for voice in set(voice_quality.TARGETS) - {"slt"}:
        assert sum(cell[0] == voice for cell in cells) == 2


def test_a_cell_trains_on_its_minutes_only_and_never_on_held_out_sentences(tmp_path, monkeypatch):
    monkeypatch.setattr(
        voice_quality, "clip", lambda *_: voice_scores.Sound(np.zeros(32_000, np.float32), 16_000)
    )
    folder = voice_quality.job(tmp_path, voice_quality.Cell("slt", 0.4, 45), 100)
    assert len(protocol.read_clips(folder)) == 12  # of 2 s each
    assert protocol.read_job(folder).budget == protocol.Budget(steps=100)
    folder = voice_quality.job(tmp_path, voice_quality.Cell("slt", 60.0, 45), 100)
    assert len(protocol.read_clips(folder)) == voice_quality.HELD_OUT_FROM


def test_a_finished_cell_is_skipped_until_the_base_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(voice_quality, "RESULTS", tmp_path / "rows.jsonl")
    cell = voice_quality.Cell("slt", 0.4, 45)
    row = {"kind": "trained", "voice": "slt", "minutes": 0.4, "seconds": 45, "base": "shipped"}
    assert not voice_quality.is_done(cell)
    version = voice_quality.base.VERSION
    (tmp_path / "rows.jsonl").write_text(json.dumps({**row, "base_version": version - 1}) + "\n")
    assert not voice_quality.is_done(cell)
    (tmp_path / "rows.jsonl").write_text(json.dumps({**row, "base_version": version}) + "\n")
    assert voice_quality.is_done(cell)
