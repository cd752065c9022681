"""The quick network: exact lengths, padding without influence, and the same sound from torch and from ONNX."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from voice_trainer.quick import features, network, vocoder

SMALL = network.NetworkConfig(
    rates_hz=(16_000,), channels=32, encoder_dilations=(1, 2), decoder_dilations=(1, 2)
)
IDS = [1, 20, 33, 120, 14, 3, 61, 31, 10, 2]
SCALES = torch.tensor([0.667, 1.0, 0.0])


@pytest.fixture
def small() -> network.QuickNetwork:
    torch.manual_seed(5)
    made = network.QuickNetwork(SMALL).eval()
    with torch.no_grad():
        made.duration.last.bias.fill_(1.6)  # about 4 frames a phoneme
    width = features.grid(16_000).width
    mean = np.zeros(width, dtype=np.float32)
    mean[:3] = (-10.0, 2.0, 1.0)
    mean[-3:] = (-20.0, np.log(200.0), 0.0)
    std = np.full(width, 0.3, dtype=np.float32)
    spread = np.ones(features.ENVELOPE_SIZE, dtype=np.float32)
    made.set_statistics(features.SpeakerStatistics(mean, std, spread))
    return made


@pytest.fixture
def voice(small: network.QuickNetwork) -> network.Voice:
    return network.Voice(small, vocoder.Vocoder(16_000)).eval()


def say(voice: network.Voice, ids: list[int], scales: torch.Tensor = SCALES):
    with torch.no_grad():
        return voice(torch.tensor([ids]), torch.tensor([len(ids)]), scales)


def with_pads(ids: list[int]) -> list[int]:
    return [part for number in ids for part in (number, network.PAD_ID)]


def test_pads_between_phonemes_change_nothing_and_last_no_time(voice):
    plain, durations = say(voice, IDS)
    padded, padded_durations = say(voice, with_pads(IDS))
    assert torch.equal(plain, padded)
    assert torch.equal(padded_durations[:, ::2], durations)
    assert (padded_durations[:, 1::2] == 0).all()


def test_durations_add_up_to_the_sound(voice):
    sound, durations = say(voice, with_pads(IDS))
    assert durations.sum() * 160 == sound.shape[2]
    assert sound.shape[:2] == (1, 1)


def test_length_scale_stretches_and_noise_w_loosens_the_rhythm(voice):
    usual, durations = say(voice, IDS)
    slow, _ = say(voice, IDS, torch.tensor([0.667, 2.0, 0.0]))
    assert slow.shape[2] == pytest.approx(2 * usual.shape[2], rel=0.05)
    torch.manual_seed(1)
    rhythms = {
        tuple(say(voice, IDS, torch.tensor([0.667, 1.0, 3.0]))[1][0].tolist()) for _ in range(4)
    }
    assert len(rhythms) > 1
    assert torch.equal(say(voice, IDS)[1], durations)


def test_a_clip_sounds_the_same_alone_and_in_a_batch(voice):
    short = [*IDS[:5], 2]
    row = short + [network.PAD_ID] * (len(IDS) - len(short))
    with torch.no_grad():
        together, durations = voice(
            torch.tensor([IDS, row]), torch.tensor([len(IDS), len(short)]), SCALES
        )
    for place, ids in enumerate((IDS, short)):
        alone, frames = say(voice, ids)
        assert torch.equal(durations[place, : len(ids)], frames[0])
        # The last window of the shorter clip reaches into what follows it.
        length = alone.shape[2] - 320
        assert together[place, 0, :length].numpy() == pytest.approx(
            alone[0, 0, :length].numpy(), abs=1e-4
        )


def test_training_sees_what_speaking_computes(small):
    ids = torch.tensor([IDS])
    durations = torch.tensor([[2, 3, 4, 0, 6, 1, 5, 7, 300, 4]])
    mask = torch.ones(1, 1, len(IDS))
    with torch.no_grad():
        exact = small.encode(ids, mask, torch.tensor([0]))
        _, place, _ = network.regulate(exact, durations)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough, rough_place, _ = network.regulate(exact, durations)
    assert torch.equal(place, rough_place)  # a bfloat16 cannot count to 300
    assert torch.equal(rough[0, :, 0], exact[0, :, 0])
    assert torch.equal(rough[0, :, 9], exact[0, :, 4])
    assert torch.equal(rough[0, :, -1], exact[0, :, -1])


def test_rounded_durations_never_drift_from_the_exact_ones():
    torch.manual_seed(0)
    lengths = torch.rand(3, 200) * 9
    mask = torch.ones(3, 200)
    whole = network.whole_durations(lengths, mask)
    assert torch.equal(whole, whole.round())
    assert (whole.cumsum(1) - lengths.cumsum(1))[:, :-1].abs().max() <= 0.501
    assert (whole[:, -1] >= 2).all()


def test_sharpening_restores_the_speakers_spread():
    torch.manual_seed(0)
    flat = 0.6 * torch.randn(1, 400, features.ENVELOPE_SIZE) + 3
    mask, spread = torch.ones(1, 400, 1), torch.ones(1, 1, features.ENVELOPE_SIZE)
    sharp = network.sharpened(flat, mask, spread, 1.0)
    assert sharp[..., 1:].std(1) == pytest.approx(1.0, abs=0.01)
    assert sharp.mean(1) == pytest.approx(flat.mean(1).numpy(), abs=1e-4)
    assert torch.equal(sharp[..., 0], flat[..., 0])
    assert torch.allclose(network.sharpened(flat, mask, spread, 0.0), flat, atol=1e-5)


def test_a_network_and_a_vocoder_of_two_rates_do_not_join(small):
    with pytest.raises(ValueError, match="16000 Hz cannot speak through a vocoder for 22050 Hz"):
        network.Voice(small, vocoder.Vocoder(22_050))


def test_a_config_survives_json():
    assert network.NetworkConfig.from_dict(json.loads(json.dumps(SMALL.as_dict()))) == SMALL
    with pytest.raises(ValueError, match="not 8000"):
        network.NetworkConfig.from_dict({"rates_hz": [8000]})


@pytest.mark.slow
def test_it_overfits_eight_clips():
    torch.manual_seed(0)
    config = network.NetworkConfig(
        rates_hz=(16_000,),
        channels=48,
        encoder_dilations=(1,),
        decoder_dilations=(1, 2),
        dropout=0.0,
    )
    learner = network.QuickNetwork(config)
    durations = torch.randint(2, 6, (8, 6))
    frames = int(durations.sum(1).max())
    # Each clip moves smoothly from one spectrum to another.
    share = torch.linspace(0, 1, frames)[None, :, None]
    begin, end = torch.randn(2, 8, 1, features.grid(16_000).width)
    targets = begin * (1 - share) + end * share
    targets[..., -1] = (targets[..., -1] > 0).float()
    batch = network.Batch(
        ids=torch.randint(1, 200, (8, 6)),
        durations=durations,
        targets={16_000: targets},
        speakers=torch.zeros(8, dtype=torch.int64),
    )
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    learner.train()
    before = network.losses(learner, batch)
    for _ in range(100):
        optimizer.zero_grad()
        network.losses(learner, batch).total.backward()
        optimizer.step()
    learner.eval()
    after = network.losses(learner, batch)
    assert after.envelope < 0.4 * before.envelope
    assert after.voicing < 0.2 * before.voicing
    assert after.duration < 0.1 * before.duration


def test_what_reads_learns_at_its_share_of_the_rate_and_no_weight_is_left_out(small):
    groups = network.parameter_groups(small, 0.1)
    assert {group["share"] for group in groups} == {0.1, 1.0}
    found = {id(weight): group["share"] for group in groups for weight in group["params"]}
    assert found.keys() == {id(weight) for weight in small.parameters()}
    assert found[id(small.phonemes.weight)] == found[id(small.duration.last.bias)] == 0.1
    assert found[id(small.speakers.weight)] == found[id(small.final.weight)] == 1.0


def test_onnx_speaks_as_torch_does(voice, tmp_path: Path):
    import onnxruntime

    path = tmp_path / "voice.onnx"
    example = torch.tensor([with_pads(IDS)])
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the tracing exporter is deprecated, the other one does not export this
        torch.onnx.export(
            voice,
            (example, torch.tensor([example.shape[1]]), SCALES),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=list(network.INPUT_NAMES),
            output_names=list(network.OUTPUT_NAMES),
            dynamic_axes={"input": {0: "batch", 1: "ids"}, "input_lengths": {0: "batch"}},
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for ids in (with_pads(IDS), IDS[:4] * 3 + [2]):
        sound, durations = session.run(
            None,
            {
                "input": np.array([ids]),
                "input_lengths": np.array([len(ids)]),
                "scales": SCALES.numpy(),
            },
        )
        expected, expected_durations = say(voice, ids)
        assert durations == pytest.approx(expected_durations.numpy())
        assert sound == pytest.approx(expected.numpy(), abs=1e-3 * float(expected.abs().max()))
