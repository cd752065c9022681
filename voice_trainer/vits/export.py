"""A trained VITS as a voice that PiperVoice loads: one ONNX graph with its durations, and the JSON beside it.

The graph is compared with torch on the same text and the same noise before the file is kept.
"""

from __future__ import annotations

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils import remove_weight_norm
from torch.overrides import TorchFunctionMode

from voice_trainer.export import settings_of
from voice_trainer.loop import TrainerError
from voice_trainer.protocol import write_json
from voice_trainer.vits.network import HOP, Quality, build, quiet_piper

if TYPE_CHECKING:
    import onnx
    from piper.train.vits.models import SynthesizerTrn

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

OPSET = 15  # as piper's own exports
NOISE, LENGTH, DURATION_NOISE = 0.667, 1.0, 0.8
CLOSE_ENOUGH = 1e-3
"""Largest difference between torch and ONNX, in parts of full scale (-60 dB). Seen: 1e-5 with random weights."""
LONGEST_TEST_IDS = 120


@dataclass(frozen=True, slots=True)
class Exported:
    """A voice on disk.

    Attributes:
        path: The ``.onnx``; the ``.onnx.json`` lies beside it.
        difference: Largest one between torch and ONNX, in parts of full scale.
    """

    path: Path
    difference: float
    size_bytes: int


def export(
    weights: dict[str, torch.Tensor],
    quality: Quality,
    path: Path,
    *,
    language: str,
    name: str,
    test_ids: Sequence[int],
) -> Exported:
    """Write a voice; both files appear only when the graph does what torch does.

    Args:
        weights: Of both networks or of the generator alone, as in a checkpoint.
        quality: The size that these weights have.
        path: Ends with ".onnx", in a folder that exists.
        language: espeak voice that turns text into phonemes.
        name: What the voice is called.
        test_ids: Phoneme ids of a sentence, to compare with.

    Raises:
        TrainerError: export.broken: the graph says something else than the network, or nothing.
    """
    generator = speaking(weights, quality)
    ids = torch.tensor([list(test_ids)[:LONGEST_TEST_IDS]])
    model = _graph(generator, ids)
    difference = compare(generator, model, ids)
    if not difference <= CLOSE_ENOUGH:
        raise TrainerError(
            "export.broken",
            f"The exported voice differs from the trained one by {difference:.2g} of full scale, more than"
            f" {CLOSE_ENOUGH:.2g}. The checkpoint is kept; try to export an earlier one.",
        )
    settings = settings_of(language, quality.rate_hz, HOP, name)
    settings["audio"]["quality"] = quality.name
    data = model.SerializeToString()
    write_json(Path(f"{path}.json"), settings)
    _replace(path, data)
    return Exported(path, difference, len(data))


def speaking(weights: dict[str, torch.Tensor], quality: Quality) -> SynthesizerTrn:
    """A generator on the CPU that only speaks: no dropout, weight norm worked into the weights."""
    state = torch.get_rng_state()
    network = build(quality)
    torch.set_rng_state(state)  # a training that goes on must not notice
    own = {name: one.detach().cpu().float() for name, one in weights.items()}
    network.generator.load_state_dict(
        {name[8:]: one for name, one in own.items() if name.startswith("model_g.")}
    )
    generator = network.generator.eval()
    with quiet_piper():
        for module in generator.modules():
            if hasattr(module, "weight_g"):
                remove_weight_norm(module)
    return generator


@torch.no_grad()
def speak(
    generator: SynthesizerTrn,
    ids: Sequence[int],
    *,
    seed: int = 1,
    noise: float = NOISE,
    most_frames: int = 2000,
) -> FloatArray:
    """A sentence as the voice will say it, in [-1, 1], shape (samples,); cut after ``most_frames`` (23 s at 22,050 Hz)."""
    device = next(generator.parameters()).device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        sound, *_ = generator.infer(  # type: ignore[no-untyped-call]  # piper says no types here
            torch.tensor([list(ids)], device=device),
            torch.tensor([len(ids)], device=device),
            noise_scale=noise,
            noise_scale_w=DURATION_NOISE,
            max_len=most_frames,
        )
    return np.asarray(sound.float().cpu().numpy()[0, 0], np.float32)


def compare(generator: SynthesizerTrn, model: onnx.ModelProto, ids: torch.Tensor) -> float:
    """Largest difference between torch and ONNX on one text with the same noise; NaN if either says a number that is none.

    Args:
        generator: From `speaking`.
        model: From `_graph`.
        ids: Shape (1, n).
    """
    import onnxruntime

    with torch.no_grad(), _Noise(seed=7) as noise:
        wanted, *_ = generator.infer(  # type: ignore[no-untyped-call]  # piper says no types here
            ids,
            torch.tensor([ids.shape[1]]),
            noise_scale=NOISE,
            length_scale=LENGTH,
            noise_scale_w=DURATION_NOISE,
        )
    given, names = _with_noise_as_input(model)
    if len(names) != len(noise.made):
        return float("nan")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        given.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    inputs = {
        "input": ids.numpy(),
        "input_lengths": np.array([ids.shape[1]], np.int64),
        "scales": np.array([NOISE, LENGTH, DURATION_NOISE], np.float32),
        **{name: one.numpy() for name, one in zip(names, noise.made, strict=True)},
    }
    try:
        got = np.asarray(session.run(None, inputs)[0])
    except Exception as error:  # noqa: BLE001 - onnxruntime has no public base class of its errors
        logger.warning("The exported voice does not run: %s", error)
        return float("nan")
    if got.shape != tuple(wanted.shape):
        return float("nan")
    return float(np.abs(got - wanted.numpy()).max())


class _Speaker(nn.Module):
    """What the graph does: piper's inputs in, sound out."""

    def __init__(self, generator: SynthesizerTrn) -> None:
        super().__init__()
        self.generator = generator

    def forward(
        self, ids: torch.Tensor, id_counts: torch.Tensor, scales: torch.Tensor
    ) -> torch.Tensor:
        """Sound in [-1, 1], shape (batch, 1, samples); scales: noise, length, noise of durations."""
        sound, *_ = self.generator.infer(  # type: ignore[no-untyped-call]  # piper says no types here
            ids, id_counts, noise_scale=scales[0], length_scale=scales[1], noise_scale_w=scales[2]
        )
        found: torch.Tensor = sound
        return found


def _graph(generator: SynthesizerTrn, ids: torch.Tensor) -> onnx.ModelProto:
    import onnx
    from piper.patch_voice_with_alignment import add_alignment_output

    file = io.BytesIO()
    with warnings.catch_warnings(), torch.random.fork_rng([]):
        warnings.simplefilter("ignore")  # tracing warns of every size that it takes for constant
        torch.onnx.export(
            _Speaker(generator).eval(),  # else torch leaves the generator in training mode
            (ids, torch.tensor([ids.shape[1]]), torch.tensor([NOISE, LENGTH, DURATION_NOISE])),
            file,  # type: ignore[arg-type]  # torch takes open files too, its hint forgot them
            dynamo=False,  # the new exporter fails on the splines of the durations (torch 2.13)
            opset_version=OPSET,
            input_names=["input", "input_lengths", "scales"],
            output_names=["output"],
            dynamic_axes={
                "input": {0: "batch_size", 1: "phonemes"},
                "input_lengths": {0: "batch_size"},
                "output": {0: "batch_size", 2: "time"},
            },
        )
    model = onnx.load_from_string(file.getvalue())
    add_alignment_output(model)  # durations of each phoneme: lip-sync
    return model


def _with_noise_as_input(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """A copy whose noise is handed in, and the names of those inputs in the order of their use."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    names = []
    kept = []
    for node in copy.graph.node:
        if node.op_type in ("RandomNormal", "RandomNormalLike"):
            names.append(node.output[0])
        else:
            kept.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    for name in names:
        copy.graph.input.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, None, None])
        )
    return copy, names


class _Noise(TorchFunctionMode):
    """Draws normal noise from a generator of its own, and keeps what was drawn."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.made: list[torch.Tensor] = []
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        """Every call of torch comes through here; only the two that make noise are answered."""
        if function is torch.randn:
            shape = arguments
        elif function is torch.randn_like:
            shape = tuple(arguments[0].shape)
        else:
            return function(*arguments, **(named or {}))
        drawn = torch.empty(shape).normal_(generator=self._generator)
        self.made.append(drawn)
        return drawn.clone()


def _replace(path: Path, data: bytes) -> None:
    """Replace a file as a whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
