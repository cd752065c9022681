"""The shipped base: whole, small, of engine voices only, and already able to speak at both rates."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from voice_trainer.quick import base, features, vocoder

HELLO = [
    1,
    20,
    59,
    24,
    120,
    27,
    100,
    3,
    35,
    120,
    62,
    122,
    24,
    17,
    10,
    2,
]  # h ə l ˈ o ʊ  w ˈ ɜ ː l d .


def test_the_card_belongs_to_the_weights():
    raw = base.WEIGHTS_PATH.read_bytes()
    assert base.card().sha256 == hashlib.sha256(raw).hexdigest()
    assert len(raw) < 10_000_000


def test_only_the_engine_was_its_teacher():
    card = json.loads(base.CARD_PATH.read_text(encoding="utf-8"))
    assert "espeak-ng" in card["data"]
    assert card["steps"] > 0
    assert {"slt", "rms", "kal16"}.isdisjoint(row["variant"] for row in card["speakers"])
    assert len(base.card().languages) == base.card().config.speakers


@pytest.mark.parametrize("rate", sorted(features.GRIDS))
def test_it_speaks_before_any_training(rate):
    network = base.load(rate).eval()
    with torch.no_grad():
        envelope, _, f0_hz, voiced, durations = network.predict(
            torch.tensor([HELLO]), torch.tensor([0])
        )
    assert network.config.rates_hz == (rate,)
    assert envelope.shape == (1, int(durations.sum()), features.ENVELOPE_SIZE)
    assert 40 < durations.sum() < 160  # "hello world" takes about a second
    assert 0.3 < voiced.mean() < 0.98
    assert (f0_hz > 0).all()
    sound = vocoder.Vocoder(rate)(envelope, torch.full_like(envelope[..., :1], -10).expand(
        -1, -1, features.grid(rate).bands), f0_hz, voiced)  # fmt: skip
    assert torch.isfinite(sound).all()


def test_a_new_speaker_begins_as_the_mean_of_the_languages_speakers():
    german, english = base.load(16_000, "de", speakers=2), base.load(16_000, "en-us")
    assert torch.equal(german.speakers.weight[0], german.speakers.weight[1])
    assert not torch.equal(german.speakers.weight[0], english.speakers.weight[0])
    unknown = base.load(16_000, "sw")
    assert torch.isfinite(unknown.speakers.weight).all()


def test_an_unknown_rate_is_refused():
    with pytest.raises(ValueError, match="not at 44100"):
        base.load(44_100)
