"""Export of the full trainer: a file that PiperVoice loads and that says what torch says."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.voice_trainer.vits.speech import ids
from voice_trainer.loop import TrainerError
from voice_trainer.vits import export
from voice_trainer.vits.network import QUALITIES, build

TINY = QUALITIES["tiny"]


@cache
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return build(TINY).state()


def exported(folder: Path) -> export.Exported:
    return export.export(
        weights(), TINY, folder / "hoshi.onnx", language="en-us", name="hoshi",
        test_ids=ids("The lamp is on."),
    )  # fmt: skip


@pytest.mark.slow  # exports
def test_the_exported_voice_speaks_in_piper_and_tells_its_durations(tmp_path: Path) -> None:
    from piper import PiperVoice

    done = exported(tmp_path)
    assert done.difference < 1e-4
    voice = PiperVoice.load(done.path)
    (chunk,) = voice.synthesize("Good evening, friends.", include_alignments=True)
    assert chunk.sample_rate == 16_000
    assert chunk.audio_float_array.std() > 1e-4
    assert np.isfinite(chunk.audio_float_array).all()
    assert chunk.phoneme_alignments is not None
    spoken = sum(mark.num_samples for mark in chunk.phoneme_alignments)
    assert spoken == chunk.audio_float_array.size
    settings = json.loads(Path(f"{done.path}.json").read_text("utf-8"))
    assert settings["espeak"]["voice"] == "en-us"
    assert settings["phoneme_id_map"]["ə"] == [59]
    assert {path.name for path in tmp_path.iterdir()} == {"hoshi.onnx", "hoshi.onnx.json"}


@pytest.mark.slow  # exports
def test_a_graph_that_says_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = export._graph

    def other(generator: object, some: torch.Tensor) -> object:
        model = graph(generator, some)
        for tensor in model.graph.initializer:
            if tensor.name.endswith("emb.weight"):
                values = np.frombuffer(tensor.raw_data, np.float32) * 1.5
                tensor.raw_data = values.tobytes()
        return model

    monkeypatch.setattr(export, "_graph", other)
    with pytest.raises(TrainerError, match="differs from the trained one"):
        exported(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_speaking_leaves_the_noise_of_a_training_alone() -> None:
    given = weights()
    torch.manual_seed(9)
    wanted = torch.randn(4)
    torch.manual_seed(9)
    generator = export.speaking(given, TINY)
    sound = export.speak(generator, ids("The lamp is on."))
    assert torch.equal(torch.randn(4), wanted)
    assert np.array_equal(sound, export.speak(generator, ids("The lamp is on.")))
