"""What a training starts from: public checkpoints, Luma's own, and what is neither."""

from __future__ import annotations

import hashlib
import pathlib
from functools import cache
from pathlib import Path

import pytest
import torch

from voice_trainer import checkpoint
from voice_trainer.loop import TrainerError
from voice_trainer.vits import convert
from voice_trainer.vits.base import read_base
from voice_trainer.vits.network import QUALITIES, SYMBOL_TABLE, build, quality_of


@cache
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    return build(QUALITIES["tiny"]).state()


def public_checkpoint(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """As Lightning writes it: with settings, paths, states of optimizers and callbacks."""
    content = {
        "state_dict": tensors,
        "hyper_parameters": {"sample_rate": 16_000, "dataset": [pathlib.PosixPath("/a/b")]},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(1.0)}},
        "global_step": 2_000,
        "epoch": 7,
    }
    torch.save(content, path)
    return path


def test_a_public_checkpoint_gives_exactly_its_weights(tmp_path: Path) -> None:
    given = {**weights(), "model_g.half": torch.ones(3, 2).half().t(), "loss.other": torch.ones(2)}
    path = public_checkpoint(tmp_path / "public.ckpt", given)
    read = read_base(path, tmp_path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert read.weights.keys() == given.keys() - {"loss.other"}
    for name, tensor in read.weights.items():
        assert torch.equal(tensor, given[name].float()), name


def test_what_an_old_checkpoint_was_set_up_with_is_told(tmp_path: Path) -> None:
    path = public_checkpoint(tmp_path / "public.ckpt", weights())
    done = convert.convert(path, tmp_path / "plain.safetensors")
    assert (done.settings["sample_rate"], done.step, done.strangers) == (16_000, 2_000, ())


def test_a_converted_base_is_not_converted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = public_checkpoint(tmp_path / "public.ckpt", weights())
    first = read_base(path, tmp_path)
    monkeypatch.setattr(convert, "convert", None)  # would fail
    again = read_base(path, tmp_path)
    assert again.sha256 == first.sha256
    assert torch.equal(again.weights[SYMBOL_TABLE], first.weights[SYMBOL_TABLE])


def test_a_checkpoint_of_an_earlier_training_is_a_base(tmp_path: Path) -> None:
    path = tmp_path / "step-0000007.safetensors"
    checkpoint.write(path, {**weights(), "rng.torch": torch.get_rng_state()}, {"step": 7})
    assert read_base(path, tmp_path).weights.keys() == weights().keys()


@pytest.mark.parametrize("name", ["x_low", "low", "medium", "high", "tiny"])
def test_the_size_of_a_base_is_seen_in_its_weights(name: str) -> None:
    quality = QUALITIES[name]
    with torch.device("meta"):
        found = quality_of(build(quality).state(), quality.rate_hz)
    assert found == quality


def test_an_old_voice_with_fewer_symbols_gives_those_it_knows() -> None:
    torch.manual_seed(5)
    network = build(QUALITIES["tiny"])
    own = network.state()[SYMBOL_TABLE].clone()
    given = {**weights(), SYMBOL_TABLE: weights()[SYMBOL_TABLE][:130]}
    assert network.warm_start(given) == 1.0
    table = network.state()[SYMBOL_TABLE]
    assert torch.equal(table[:130], given[SYMBOL_TABLE])
    assert torch.equal(table[130:], own[130:])


def test_a_missing_base_and_a_folder_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"gone\.ckpt cannot be read \(No such file"):
        read_base(tmp_path / "gone.ckpt", tmp_path)
    with pytest.raises(TrainerError, match="it is no file"):
        read_base(tmp_path, tmp_path)
