"""A step of the full trainer: piper's numbers, and something learnt."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.voice_trainer.vits.speech import sounds
from voice_trainer.vits import step
from voice_trainer.vits.batches import HOP, MARGIN, Batch, batch
from voice_trainer.vits.network import QUALITIES, Network, build, quiet_piper

CPU = torch.device("cpu")


def tiny(seed: int = 1) -> Network:
    torch.manual_seed(seed)
    return build(QUALITIES["tiny"])


def piper_batch(made: Batch) -> object:
    """The same clips as piper's own data module would hand them over."""
    with quiet_piper():
        from piper.train.vits import dataset
        from piper.train.vits.mel_processing import spectrogram_torch
    utterances = []
    for row in range(made.size):
        samples = int(made.frame_counts[row]) * HOP
        audio = made.audio[row, MARGIN : MARGIN + samples]
        utterances.append(
            dataset.UtteranceTensors(
                phoneme_ids=made.ids[row, : made.id_counts[row]],
                spectrogram=spectrogram_torch(audio[None], 1024, 16_000, HOP, 1024)[0],
                audio_norm=audio,
            )
        )
    return dataset.UtteranceCollate(is_multispeaker=False, segment_size=2048)(utterances)


def whole_hops(made: Batch) -> Batch:
    """Clips cut to whole hops and longest first, as piper sorts them: then both see the same samples."""
    longest_first = torch.argsort(made.frame_counts, descending=True)
    audio = torch.zeros_like(made.audio)
    for row, at in enumerate(longest_first.tolist()):
        samples = int(made.frame_counts[at]) * HOP
        inside = made.audio[at, MARGIN : MARGIN + samples].numpy()
        audio[row, : samples + 2 * MARGIN] = torch.from_numpy(
            np.pad(inside, MARGIN, mode="reflect")
        )
    return Batch(
        made.ids[longest_first],
        made.id_counts[longest_first],
        audio,
        made.frame_counts[longest_first],
    )


@pytest.mark.slow  # lightning takes 2 s to import
def test_losses_and_gradients_of_three_steps_are_those_of_piper(tmp_path: Path) -> None:
    with quiet_piper():
        from piper.train.vits.lightning import VitsModel
    clips, audio = sounds(tmp_path, 4)
    made = whole_hops(batch(clips, audio))
    ours, theirs = tiny(), tiny()
    with quiet_piper():
        model = VitsModel(
            sample_rate=16_000, mos_metric=None, segment_size=2048, hidden_channels=32,
            inter_channels=32, filter_channels=64, n_layers=2, upsample_initial_channel=64,
        )  # fmt: skip
    model.model_g, model.model_d = theirs.generator, theirs.discriminator
    (opt_g, opt_d), _ = model.configure_optimizers()
    optimizers = step.optimizers(ours, CPU, "32")
    their_batch = piper_batch(made)
    for number in range(3):
        torch.manual_seed(number)
        found = step.update(ours, optimizers, made, "32").values()
        torch.manual_seed(number)
        loss_g, loss_d, parts = model._compute_loss(their_batch)
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()
        wanted = {
            "generator": loss_g, "discriminator": loss_d, "mel": parts["mel"], "kl": parts["kl"],
            "duration": parts["dur"], "features": parts["fm"], "adversarial": parts["gen"],
        }  # fmt: skip
        assert found == pytest.approx({name: one.item() for name, one in wanted.items()}, rel=1e-4)
        # Not the weights: where a gradient is zero but for rounding, Adam makes whole steps of it.
        for module, other in (
            (ours.generator, theirs.generator),
            (ours.discriminator, theirs.discriminator),
        ):
            got, want = (
                torch.cat([one.grad.flatten() for one in each.parameters() if one.grad is not None])
                for each in (module, other)
            )
            assert (got - want).norm() < 1e-3 * want.norm()


@pytest.mark.slow  # a whole step of two networks
def test_a_step_moves_both_networks_and_says_finite_numbers(tmp_path: Path) -> None:
    clips, audio = sounds(tmp_path, 2)
    network = tiny()
    before = {name: one.clone() for name, one in network.state().items()}
    found = step.update(network, step.optimizers(network, CPU, "32"), batch(clips, audio), "32")
    assert all(map(math.isfinite, found.values().values()))
    moved = {
        name.split(".")[0] for name, one in network.state().items() if (one != before[name]).any()
    }
    assert moved == {"model_g", "model_d"}


def test_half_precision_says_nearly_the_same(tmp_path: Path) -> None:
    clips, audio = sounds(tmp_path, 2)
    network, made = tiny(), batch(clips, audio)
    said = []
    for precision in ("32", "bf16"):
        torch.manual_seed(5)
        said.append(step.losses(network, made, precision).values()["mel"])
    assert said[1] == pytest.approx(said[0], rel=0.02)


def test_a_clip_shorter_than_a_segment_is_learnt_from(tmp_path: Path) -> None:
    clips, audio = sounds(tmp_path, 1, segment=2048)
    short = type(clips[0])("short", "", clips[0].ids[:7], 0, 2048)
    network = tiny()
    found = step.update(network, step.optimizers(network, CPU, "32"), batch([short], audio), "32")
    assert all(map(math.isfinite, found.values().values()))


@pytest.mark.slow  # 120 steps
@pytest.mark.timeout(900)
def test_a_tiny_voice_overfits_eight_clips(tmp_path: Path) -> None:
    clips, audio = sounds(tmp_path, 8)
    network = tiny()
    optimizers = step.optimizers(network, CPU, "32")
    for group in (optimizers.generator, optimizers.discriminator):
        group.param_groups[0]["lr"] = 1e-3  # 120 steps in place of thousands
    made = batch(clips, audio)
    mel, kl = [], []
    for number in range(120):
        torch.manual_seed(number)
        found = step.update(network, optimizers, made, "32").values()
        mel.append(found["mel"])
        kl.append(found["kl"])
    assert np.mean(mel[-20:]) < 0.5 * mel[0]
    assert np.mean(kl[-20:]) < 0.5 * kl[0]
