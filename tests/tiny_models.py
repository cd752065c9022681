"""Real model files of a few kilobytes or megabytes, made on the spot: they load and run like the public ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RATE_HZ = 16000
HOP = 256
FRAMES_PER_ID = 4


def piper_voice(
    folder: Path, name: str = "tiny", *, speakers: int = 1, external: bool = False, domain: str = ""
) -> Path:
    """A Piper voice that hums 220 Hz (440 for speaker 1 …), 64 ms per phoneme id at length scale 1."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    def constant(label: str, value: Any, dtype: Any) -> Any:
        return numpy_helper.from_array(np.array(value, dtype=dtype), label)

    constants = [
        constant("one", [1], np.int64),
        constant("zero_f", 0.0, np.float32),
        constant("frames", float(FRAMES_PER_ID), np.float32),
        constant("hop", float(HOP), np.float32),
        constant("start", 0, np.int64),
        constant("step", 1, np.int64),
        constant("loud", 0.5, np.float32),
        constant("turn", 2 * np.pi * 220 / RATE_HZ, np.float32),
        constant("none", [], np.int64),
        constant("axes", [0, 1], np.int64),
        constant("axis3", [1], np.int64),
    ]
    node = helper.make_node
    nodes = [
        node("Cast", ["input"], ["ids"], to=TensorProto.FLOAT),
        node("Mul", ["ids", "zero_f"], ["zeros"]),
        node("Gather", ["scales", "one"], ["length"]),
        node("Mul", ["length", "frames"], ["each"]),
        node("Add", ["zeros", "each"], ["w"]),
        node("Ceil", ["w"], ["w_ceil"]),
        node("Unsqueeze", ["w_ceil", "axis3"], ["durations"]),
        node("ReduceSum", ["durations"], ["total"], keepdims=0),
        node("Mul", ["total", "hop"], ["samples_f"]),
        node("Cast", ["samples_f"], ["samples"], to=TensorProto.INT64),
        node("Range", ["start", "samples", "step"], ["at"]),
        node("Cast", ["at"], ["at_f"], to=TensorProto.FLOAT),
        node("Mul", ["at_f", "turn"], ["phase_1"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, "n"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers > 1:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
        nodes += [
            node("Add", ["sid", "one"], ["octave"]),
            node("Cast", ["octave"], ["octave_f"], to=TensorProto.FLOAT),
            node("Mul", ["phase_1", "octave_f"], ["phase"]),
        ]
    else:
        nodes.append(node("Identity", ["phase_1"], ["phase"]))
    nodes += [
        node("Sin", ["phase"], ["wave"]),
        node("Mul", ["wave", "loud"], ["wave_2"]),
        node("Unsqueeze", ["wave_2", "axes"], ["output"]),
    ]
    if domain:
        nodes.append(node("Strange", ["wave_2"], ["strange"], domain=domain))
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "samples"])]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializer=constants)
    opsets = [helper.make_opsetid("", 17)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if external:
        tensor = model.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../secret")
        tensor.ClearField("raw_data")
    path = folder / f"{name}.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    Path(f"{path}.json").write_text(json.dumps(piper_settings(speakers)), "utf-8")
    return path


def piper_settings(speakers: int = 1) -> dict[str, Any]:
    """The JSON beside a voice."""
    from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

    return {
        "audio": {"sample_rate": RATE_HZ, "quality": "low"},
        "espeak": {"voice": "en-us"},
        "language": {"code": "en_US"},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "num_symbols": 256,
        "num_speakers": speakers,
        "hop_length": HOP,
    }


def whisper_model(path: Path) -> Path:
    """A Whisper model with random weights, English only (14 MB): it loads, listens, and writes nonsense."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(1)
    # 64 tokens of context in place of 448: it stops writing nonsense seven times sooner
    dims = ModelDimensions(80, 1500, 64, 2, 1, 51864, 64, 64, 2, 1)
    model = Whisper(dims)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"dims": dims.__dict__, "model_state_dict": model.state_dict()}, path)
    return path


def whisper_saying(
    path: Path,
    text: str,
    language: str = "en",
    *,
    is_multilingual: bool = False,
    shape: tuple[int, int, int] = (64, 2, 1),
) -> Path:
    """A Whisper model (13 MB) that reads this text in any sound, and detects this language where it is multilingual.

    Nothing but the place in the sentence decides what comes next: the position's vector is the wanted token's, and the
    blocks, whose weights are random, give zeros. So it works as long as a real one of its shape for the same words.

    Args:
        path: Where it goes.
        text: What it reads.
        language: What it detects.
        is_multilingual: Whether it has languages at all.
        shape: Width, heads and layers of both halves: (384, 6, 4) is Whisper tiny, (512, 8, 6) base.
    """
    import torch
    from whisper.model import ModelDimensions, Whisper
    from whisper.tokenizer import get_tokenizer

    size, heads, layers = shape
    tokenizer = get_tokenizer(is_multilingual, num_languages=99)
    vocabulary = 51865 if is_multilingual else 51864
    torch.manual_seed(1)
    model = Whisper(
        ModelDimensions(80, 1500, size, heads, layers, vocabulary, 448, size, heads, layers)
    )
    tokens = torch.nn.functional.normalize(torch.randn(vocabulary, size), dim=1)
    start = tokenizer.timestamp_begin
    says = [start, *tokenizer.encode(" " + text), start + 50, tokenizer.eot]
    if is_multilingual:
        says = [tokenizer.to_language_token(language), tokenizer.transcribe, *says]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".out." in name or ".mlp.2." in name:
                parameter.zero_()
        model.decoder.token_embedding.weight.copy_(tokens)
        model.decoder.positional_embedding[: len(says)] = 10 * tokens[says]
        model.decoder.positional_embedding[len(says) :] = 10 * tokens[tokenizer.eot]
        model.decoder.ln.weight.fill_(20.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"dims": model.dims.__dict__, "model_state_dict": model.state_dict()}, path)
    return path
