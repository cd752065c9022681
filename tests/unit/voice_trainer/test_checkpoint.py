"""Checkpoints come back as they were, and nothing else is believed."""

from __future__ import annotations

import itertools
import json
import random
import struct
from pathlib import Path

import pytest
import torch
from torch import nn

from voice_trainer.checkpoint import (
    CheckpointError,
    Checkpoints,
    fill,
    pack,
    pack_optimizer,
    pack_rng,
    read,
    read_header,
    unpack_optimizer,
    unpack_rng,
    write,
)


def one_step(model: nn.Linear, optimizer: torch.optim.Optimizer) -> float:
    loss = (model(torch.randn(4, 3)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.slow
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.9, 0.99))
    for _ in range(3):
        one_step(model, optimizer)
    state, numbers = pack_optimizer(optimizer)
    rng, rng_numbers = pack_rng()
    kept = Checkpoints(tmp_path).save(
        3,
        {**pack("model", model.state_dict()), **state, **rng},
        {"optimizer": numbers, "rng": rng_numbers},
    )
    expected = [one_step(model, optimizer) for _ in range(3)], random.random()

    torch.manual_seed(99)
    again = nn.Linear(3, 2)
    its_optimizer = torch.optim.AdamW(again.parameters(), lr=0.7)
    found = read(kept.path)
    fill(again, found.part("model"), "The checkpoint")
    unpack_optimizer(its_optimizer, found, found.state["optimizer"])
    unpack_rng(found, found.state["rng"])

    assert ([one_step(again, its_optimizer) for _ in range(3)], random.random()) == expected


def saved(folder: Path, step: int, score: float | None = None) -> Path:
    return Checkpoints(folder).save(step, {"model.a": torch.ones(4)}, {}, score).path


def test_the_last_the_best_and_a_spread_of_others_are_kept(tmp_path: Path) -> None:
    for step in range(100, 1100, 100):
        saved(tmp_path, step, score=abs(step - 300) / 100)
    store = Checkpoints(tmp_path, keep=3)

    dropped = store.prune()

    steps = [one.step for one in store.all()]
    assert store.last().step == 1000
    assert store.best().step == 300
    assert len(steps) == 5
    assert len(dropped) == 5
    assert max(b - a for a, b in itertools.pairwise(steps)) <= 400


def test_a_checkpoint_of_the_same_step_is_replaced_and_halves_are_swept_away(
    tmp_path: Path,
) -> None:
    saved(tmp_path, 1)
    half = tmp_path / "checkpoints" / ".step-0000002.safetensors.77.half"
    half.write_bytes(b"half")

    saved(tmp_path, 1, score=2.0)

    (only,) = Checkpoints(tmp_path).all()
    assert only.score == 2.0
    assert not half.exists()


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, 1)
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        saved(tmp_path, 1, score=1.0)

    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def damaged(path: Path, how: str) -> None:
    raw = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    match how:
        case "empty":
            raw = bytearray()
        case "cut short":
            raw = raw[:-3]
        case "huge header":
            raw[:8] = struct.pack("<Q", 1 << 62)
        case "no json":
            raw[8:20] = b"\xff" * 12
        case "pickle":
            raw = bytearray(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
        case "nan":
            raw[-4:] = struct.pack("<f", float("nan"))
        case _:
            if how == "lying shape":
                header["model.a"]["shape"] = [1 << 40]
            elif how == "no metadata":
                del header["__metadata__"]
            elif how == "negative step":
                header["__metadata__"]["luma_checkpoint"] = '{"step": -4, "version": 1}'
            elif how == "newer":
                header["__metadata__"]["luma_checkpoint"] = '{"step": 4, "version": 99}'
            elif how == "outside":
                header["model.a"]["data_offsets"] = [0, 1 << 40]
            text = json.dumps(header).encode()
            raw = bytearray(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "how",
    [
        "empty", "cut short", "huge header", "no json", "pickle", "nan", "lying shape", "no metadata",
        "negative step", "newer", "outside",
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_in_words_with_its_name(tmp_path: Path, how: str) -> None:
    path = saved(tmp_path, 1)
    damaged(path, how)

    with pytest.raises(CheckpointError, match=r"step-0000001\.safetensors"):
        read(path)


def test_a_damaged_last_checkpoint_is_passed_over_on_resume(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    damaged(saved(tmp_path, 2), "cut short")

    assert Checkpoints(tmp_path).last().step == 1


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write(path, pack("model", nn.Linear(3, 2).state_dict()), {"step": 0})

    with pytest.raises(CheckpointError, match=r"weight has shape \(2, 3\), not \(2, 4\)"):
        fill(nn.Linear(4, 2), read(path).part("model"), "The base")
    with pytest.raises(CheckpointError, match="another kind of voice"):
        fill(nn.BatchNorm1d(2), read(path).part("model"), "The base")


@pytest.mark.parametrize("name", ["../step-0000001", "step-1", "", "step-0000001/../x"])
def test_a_checkpoint_is_only_found_by_its_name(tmp_path: Path, name: str) -> None:
    saved(tmp_path, 1)

    with pytest.raises(CheckpointError):
        Checkpoints(tmp_path).named(name)


def test_the_header_is_read_without_the_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write(path, {"model.a": torch.zeros(1)}, {"step": 7, "config": {"width": 160}})

    assert read_header(path)["config"] == {"width": 160}
