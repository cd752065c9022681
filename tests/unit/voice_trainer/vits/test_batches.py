"""Batches: every clip once, in an order that only seed and epoch decide, laid side by side without mixing them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.unit.voice_trainer.vits.speech import sounds, spoken
from voice_trainer.vits import step
from voice_trainer.vits.batches import HOP, MARGIN, Clip, batch, order

CLIPS = [Clip(f"c{n}", "", (1, 0, 14, 0, 2), 0, 2048 + 500 * (n % 13)) for n in range(45)]


def test_every_clip_comes_once_in_an_epoch() -> None:
    batches = order(CLIPS, 4, seed=1, epoch=0)
    assert sorted(at for one in batches for at in one) == [*range(45)]
    assert max(map(len, batches)) == 4


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = order(CLIPS, 4, seed=1, epoch=3)
    torch.manual_seed(2)
    assert order(CLIPS, 4, seed=1, epoch=3) == first
    assert order(CLIPS, 4, seed=1, epoch=4) != first
    assert order(CLIPS, 4, seed=2, epoch=3) != first


def test_clips_of_like_length_share_a_batch() -> None:
    def padding(batches: list[list[int]]) -> int:
        return sum(
            len(one) * max(CLIPS[at].samples for at in one) - sum(CLIPS[at].samples for at in one)
            for one in batches
        )

    by_chance = np.random.default_rng(0).permutation(45)
    plain = [by_chance[at : at + 4].tolist() for at in range(0, 45, 4)]
    assert padding(order(CLIPS, 4, seed=1, epoch=0)) < 0.6 * padding(plain)


def test_a_batch_holds_each_clip_with_its_own_reflection_and_silence_behind(tmp_path: Path) -> None:
    clips, audio = sounds(tmp_path, 2)
    made = batch(clips, audio)
    assert made.id_counts.tolist() == [len(clip.ids) for clip in clips]
    for row, clip in enumerate(clips):
        sound = audio.clip(clip)
        assert np.abs(sound - np.clip(spoken(clip.text), -1, 1)[: sound.size]).max() < 1e-4
        inside = made.audio[row, MARGIN : MARGIN + clip.samples].numpy()
        np.testing.assert_array_equal(inside, sound)
        assert made.audio[row, MARGIN - 5] == sound[5]
        assert not made.audio[row, clip.samples + 2 * MARGIN :].any()


def test_a_spectrogram_has_a_frame_for_every_hop(tmp_path: Path) -> None:
    clips, audio = sounds(tmp_path, 1)
    made = batch(clips, audio)
    assert step.spectrogram(made.audio).shape == (1, 513, clips[0].samples // HOP)


def test_the_spectrogram_of_a_tone_peaks_at_its_frequency() -> None:
    seconds = torch.arange(16_000 + 2 * MARGIN) / 16_000
    tone = torch.sin(2 * torch.pi * 1_000 * seconds)[None]
    assert int(step.spectrogram(tone).mean(2).argmax()) == round(1_000 / 16_000 * 1024)
