"""Model files made to do harm: pickles that run programs, archives that lie, weights that are none, voices that reach out.

Shares nothing with the code under test: pickles are written opcode by opcode, archives and headers byte by byte. Every
gadget wants to touch `canary` or to read `secret`, both in a folder beside the files.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["checkpoint", "voice"]
Verdict = Literal["refused", "harmless"]


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file, what it pretends to be, and whether one may load it after all."""

    name: str
    path: Path
    kind: Kind
    may: Verdict = "refused"


def write_all(folder: Path, outside: Path) -> list[Hostile]:
    """All files into ``folder``; ``outside`` gets the secret they are after."""
    outside.mkdir(parents=True, exist_ok=True)
    (outside / "secret").write_bytes(b"the secret of the streamer " * 64)
    (outside / "evil.py").write_text(f"open({str(outside / 'canary')!r}, 'w').close()\n")
    folder.mkdir(parents=True, exist_ok=True)
    return [*_checkpoints(folder, outside), *_voices(folder, outside)]


# --- pickles, by hand --------------------------------------------------------------------------------------------------

PROTO, STOP, MARK, EMPTY_DICT, EMPTY_TUPLE = b"\x80\x02", b".", b"(", b"}", b")"
SETITEM, SETITEMS, TUPLE, REDUCE, BUILD, BINPERSID, NONE, NEWFALSE = (
    b"s", b"u", b"t", b"R", b"b", b"Q", b"N", b"\x89",
)  # fmt: skip


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def many(*parts: bytes) -> bytes:
    return MARK + b"".join(parts) + TUPLE


def called(function: bytes, *arguments: bytes) -> bytes:
    return function + many(*arguments) + REDUCE


def mapping(**items: bytes) -> bytes:
    return (
        EMPTY_DICT + MARK + b"".join(text(key) + value for key, value in items.items()) + SETITEMS
    )


def tensor(
    *, values: int = 4, shape: tuple[int, ...] = (4,), strides: tuple[int, ...] = (1,),
    offset: int = 0, key: str = "0", kind: bytes | None = None,
) -> bytes:  # fmt: skip
    storage = many(text("storage"), kind or named("torch", "FloatStorage"), text(key), text("cpu"), number(values))  # fmt: skip
    return called(
        named("torch._utils", "_rebuild_tensor_v2"),
        storage + BINPERSID,
        number(offset),
        many(*map(number, shape)),
        many(*map(number, strides)),
        NEWFALSE,
        called(named("collections", "OrderedDict")),
    )


def state(one: bytes | None = None) -> bytes:
    name = "model_g.enc_p.emb.weight"
    return EMPTY_DICT + text(name) + (one or tensor()) + SETITEM


def pickled(**items: bytes) -> bytes:
    return PROTO + mapping(**items) + STOP


def archive(
    program: bytes, records: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        out.writestr("archive/data.pkl", program)
        for name, data in (records or {"archive/data/0": struct.pack("<4f", 1, 2, 3, 4)}).items():
            out.writestr(name, data)
        out.writestr("archive/version", b"3\n")
    return file.getvalue()


def gadgets(outside: Path) -> Iterator[tuple[str, bytes]]:
    """Objects that run something when they are unpickled."""
    canary, secret = str(outside / "canary"), str(outside / "secret")
    touch = text(f"touch '{canary}'")
    write = text(f"open({canary!r}, 'w').close()")
    yield "os-system", called(named("os", "system"), touch)
    yield "posix-system", called(named("posix", "system"), touch)
    yield "popen", called(named("subprocess", "Popen"), b"]" + MARK + text("touch") + text(canary) + b"e")  # fmt: skip
    yield "eval", called(named("builtins", "eval"), write)
    yield "exec", called(named("__builtin__", "exec"), write)
    yield "run-path", called(named("runpy", "run_path"), text(str(outside / "evil.py")))
    yield "open-to-write", called(named("io", "open"), text(canary), text("w"))
    yield (
        "read-secret",
        called(
            named("pathlib", "Path.read_text"), called(named("pathlib", "PosixPath"), text(secret))
        ),
    )
    yield "torch-hub", called(named("torch.hub", "load"), text(str(outside)), text("evil"))
    yield "torch-load", called(named("torch", "load"), text(secret))
    yield "numpy-load", called(named("numpy", "load"), text(secret), NONE, b"\x88")
    yield (
        "torch-extension",
        called(
            named("torch.utils.cpp_extension", "load"), text("evil"), text(str(outside / "evil.py"))
        ),
    )
    yield "import-and-call", called(
        called(named("builtins", "getattr"), called(named("importlib", "import_module"), text("os")), text("system")),
        touch,
    )  # fmt: skip
    yield "connect", called(named("socket", "create_connection"), many(text("127.0.0.1"), number(9)))  # fmt: skip
    yield "old-opcode-inst", MARK + touch + b"ios\nsystem\n"
    yield "old-opcode-obj", MARK + named("os", "system") + touch + b"o"
    yield "newer-opcode", text("os") + text("system") + b"\x93" + many(touch) + REDUCE
    yield (
        "partial-set-state",
        (
            called(named("functools", "partial"), named("builtins", "print"))
            + many(named("os", "system"), many(touch), EMPTY_DICT, NONE)
            + BUILD
        ),
    )
    yield "dotted-name", text("pathlib") + text("os.system") + b"\x93" + many(touch) + REDUCE


def _checkpoints(folder: Path, outside: Path) -> Iterator[Hostile]:
    def made(name: str, data: bytes, *, suffix: str = ".ckpt", may: Verdict = "refused") -> Hostile:
        path = folder / f"{name}{suffix}"
        path.write_bytes(data)
        return Hostile(name, path, "checkpoint", may)

    whole = archive(pickled(state_dict=state()))
    for name, gadget in gadgets(outside):
        yield made(f"pickle-{name}", archive(pickled(state_dict=state(), callbacks=gadget)))
    system = called(named("os", "system"), text(f"touch '{outside / 'canary'}'"))
    yield made("pickle-in-a-weight", archive(pickled(state_dict=state(system))), suffix=".pt")
    yield made("pickle-in-a-storage", archive(pickled(state_dict=state(tensor(kind=system)))))
    yield made("pickle-alone", pickled(state_dict=state(), callbacks=system), suffix=".pt")

    def bomb() -> bytes:
        level = b"]"
        for at in range(40):  # each list holds the one before twice: 2^40 when written out
            level = b"]q" + bytes([at]) + b"0" + level + b"2" + b"\x86" if at else b"]"
        return level

    yield made("pickle-doubling", archive(pickled(state_dict=state(), x=bomb())), may="harmless")
    yield made("pickle-deep", archive(pickled(state_dict=state(), x=b"N" + b"\x85" * 300_000)), may="harmless")  # fmt: skip
    yield made("pickle-claims-2-to-60-bytes", archive(PROTO + b"\x8e" + struct.pack("<Q", 1 << 60) + b"x" + STOP))  # fmt: skip
    yield made("pickle-of-a-list", archive(PROTO + b"]" + STOP))
    yield made("pickle-endless-memo", archive(PROTO + EMPTY_DICT + b"r" + struct.pack("<I", (1 << 32) - 1) + STOP))  # fmt: skip

    yield made("shape-beyond-storage", archive(pickled(state_dict=state(tensor(shape=(1 << 20, 1 << 20))))))  # fmt: skip
    yield made("storage-beyond-record", archive(pickled(state_dict=state(tensor(values=1 << 36, shape=(1 << 26,))))))  # fmt: skip
    yield made("offset-beyond-storage", archive(pickled(state_dict=state(tensor(offset=1 << 30)))))
    yield made("negative-offset", archive(pickled(state_dict=state(tensor(offset=-64)))))
    yield made("negative-stride", archive(pickled(state_dict=state(tensor(strides=(-1,))))))
    yield made("no-strides-to-swell", archive(pickled(state_dict=state(tensor(shape=(65536, 65536), strides=(0, 0))))))  # fmt: skip
    yield made("record-name-out", archive(pickled(state_dict=state(tensor(key="../../outside/secret")))))  # fmt: skip
    yield made("weights-nan", archive(pickled(state_dict=state()), {"archive/data/0": struct.pack("<4f", 1, float("nan"), 3, 4)}))  # fmt: skip
    yield made("weights-infinite", archive(pickled(state_dict=state()), {"archive/data/0": struct.pack("<4f", 1, 2, float("inf"), 4)}))  # fmt: skip

    four = struct.pack("<4f", 1, 2, 3, 4)
    yield made("zip-name-out", archive(pickled(state_dict=state()), {"archive/data/0": four, "archive/../../outside/canary": b"x"}))  # fmt: skip
    yield made("zip-absolute-name", archive(pickled(state_dict=state()), {"archive/data/0": four, str(outside / "canary"): b"x"}))  # fmt: skip
    yield made("zip-bomb", archive(pickled(state_dict=state()), {"archive/data/0": bytes(64 << 20)}, zipfile.ZIP_DEFLATED))  # fmt: skip
    yield made("zip-cut-off", whole[: len(whole) // 2])
    yield made("zip-without-its-end", whole[:-30])
    flipped = bytearray(whole)
    flipped[whole.index(four) + 1] ^= 0xFF  # its checksum no longer fits
    yield made("zip-wrong-checksum", bytes(flipped))
    yield made("zip-other-record-twice", _repeated(whole))
    yield made("zip-claims-4-gb", _claiming(whole))
    yield made("zip-no-checkpoint", archive(b"").replace(b"data.pkl", b"data.txt"))
    yield made("empty", b"")
    yield made("a-text", b"This is no model.\n" * 100, suffix=".pt")
    yield made("an-onnx-file-as-base", b"\x08\x08\x12\x07pytorch", suffix=".onnx")

    def tensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
        words = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(words) if length is None else length) + words + data

    def weight(
        begin: int, end: int, shape: list[int], name: str = "model_g.a"
    ) -> dict[str, object]:
        return {name: {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}}

    tail = ".safetensors"
    yield made("header-of-2-to-60-bytes", tensors({}, length=1 << 60), suffix=tail)
    yield made("header-longer-than-the-file", tensors(weight(0, 16, [4]), four, length=4096), suffix=tail)  # fmt: skip
    yield made("offsets-beyond-the-file", tensors(weight(0, 1 << 40, [1 << 38]), four), suffix=tail)
    yield made("offsets-backwards", tensors(weight(16, 0, [4]), four), suffix=tail)
    yield made("shape-does-not-fit", tensors(weight(0, 16, [1 << 20]), four), suffix=tail)
    yield made("shape-overflows", tensors(weight(0, 16, [1 << 33, 1 << 33]), four), suffix=tail)
    yield made("weights-overlap", tensors(weight(0, 16, [4]) | weight(0, 16, [4], "model_g.b"), four), suffix=tail)  # fmt: skip
    yield made("header-deep", tensors(b'{"a":' + b"[" * 200_000), suffix=tail)
    yield made("header-no-utf8", tensors(b'{"\xff\xfe": {}}'), suffix=tail)
    yield made("safetensors-nan", tensors(weight(0, 16, [4]), struct.pack("<4f", 1, float("nan"), 3, 4)), suffix=tail)  # fmt: skip
    yield made("safetensors-of-something-else", tensors(weight(0, 16, [4], "lm_head.weight"), four), suffix=tail)  # fmt: skip


def _repeated(whole: bytes) -> bytes:
    file = io.BytesIO(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of the second name
        with zipfile.ZipFile(file, "a") as out:
            out.writestr("archive/data.pkl", b"cos\nsystem\n.")
    return file.getvalue()


def _claiming(whole: bytes) -> bytes:
    """The directory says that data.pkl has almost 4 GB."""
    at = whole.index(b"PK\x01\x02")
    return whole[: at + 20] + struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0) + whole[at + 28 :]


# --- voices ------------------------------------------------------------------------------------------------------------


def settings(**changed: object) -> dict[str, object]:
    symbols = "_^$ !'(),-.:;?abcdefghijklmnopqrstuvwxyzæðŋɐɑɔəɚɛɜɡɪɹʃʊʌʒˈˌːθ"
    return {
        "audio": {"sample_rate": 16_000}, "espeak": {"voice": "en-us"}, "phoneme_type": "espeak",
        "num_symbols": 256, "num_speakers": 1, "hop_length": 256, "speaker_id_map": {},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_id_map": {symbol: [at] for at, symbol in enumerate(symbols)},
    } | changed  # fmt: skip


def _voices(folder: Path, outside: Path) -> Iterator[Hostile]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def graph() -> onnx.ModelProto:
        """Two samples for every phoneme id: enough to be a voice."""
        import numpy as np

        nodes = [
            helper.make_node("Gather", ["table", "input"], ["sounds"]),
            helper.make_node("Reshape", ["sounds", "long"], ["output"]),
        ]
        return helper.make_model(
            helper.make_graph(
                nodes,
                "voice",
                [
                    helper.make_tensor_value_info("input", TensorProto.INT64, [1, "n"]),
                    helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
                    helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
                ],
                [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "m"])],
                initializer=[
                    numpy_helper.from_array(np.full((256, 2), 0.1, np.float32), "table"),
                    numpy_helper.from_array(np.array([1, 1, -1], np.int64), "long"),
                ],
            ),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )

    def made(
        name: str, model: onnx.ModelProto | bytes, said: object = None, may: Verdict = "refused"
    ) -> Hostile:
        path = folder / f"{name}.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        words = said if isinstance(said, bytes) else json.dumps(said or settings()).encode()
        Path(f"{path}.json").write_bytes(words)
        return Hostile(name, path, "voice", may)

    def outsider(where: str) -> onnx.ModelProto:
        model = graph()
        table = model.graph.initializer[0]
        table.ClearField("raw_data")
        table.data_location = TensorProto.EXTERNAL
        table.external_data.add(key="location", value=where)
        return model

    yield made("voice-data-in-a-folder-above", outsider("../outside/secret"))
    yield made("voice-data-at-an-absolute-path", outsider(str(outside / "secret")))
    (folder / "link").symlink_to(outside / "secret")
    yield made("voice-data-behind-a-link", outsider("link"))

    inner = graph()
    inner.graph.node.append(helper.make_node("Constant", [], ["never"], value=outsider("../outside/secret").graph.initializer[0]))  # fmt: skip
    yield made("voice-data-in-a-node", inner)

    branch = graph()
    body = helper.make_graph([helper.make_node("Identity", ["far"], ["got"])], "body", [], [helper.make_tensor_value_info("got", TensorProto.FLOAT, None)], initializer=[outsider("../outside/secret").graph.initializer[0]])  # fmt: skip
    body.initializer[0].name = "far"
    branch.graph.node.append(helper.make_node("If", ["yes"], ["either"], then_branch=body, else_branch=body))  # fmt: skip
    yield made("voice-data-in-a-branch", branch)

    strange = graph()
    strange.graph.node.append(helper.make_node("Load", ["input"], ["x"], domain="evil.ops"))
    strange.opset_import.append(helper.make_opsetid("evil.ops", 1))
    yield made("voice-with-operators-of-its-own", strange)

    huge = graph()
    huge.graph.initializer[0].dims[0] = 1 << 40
    yield made("voice-with-huge-dimensions", huge)
    negative = graph()
    negative.graph.initializer[0].dims[0] = -256
    yield made("voice-with-negative-dimensions", negative)
    small = graph()
    small.graph.initializer[0].raw_data = small.graph.initializer[0].raw_data[:16]
    yield made("voice-with-too-little-data", small)
    endless = graph()
    endless.graph.node[0].input[0] = "output"
    yield made("voice-in-a-circle", endless)
    silent = graph()
    silent.graph.initializer[0].raw_data = struct.pack("<512f", *[float("nan")] * 512)
    yield made("voice-saying-nan", silent)
    whole = graph().SerializeToString()
    yield made("voice-cut-off", whole[: len(whole) // 2])
    yield made("voice-of-noise", bytes(range(256)) * 64)
    yield made("voice-that-is-a-pickle", pickled(x=called(named("os", "system"), text(f"touch '{outside / 'canary'}'"))))  # fmt: skip

    good = graph()
    yield made("voice-language-out", good, settings(espeak={"voice": "../../outside/secret"}))
    yield made("voice-ids-out-of-range", good, settings(phoneme_id_map={symbol: [99_999] for symbol in "_^$abcdefghijklmnopqrstuvwxyz ə"}))  # fmt: skip
    yield made("voice-settings-deep", good, b'{"a":' * 100_000)
    yield made("voice-settings-a-list", good, b"[1, 2, 3]")
    yield made("voice-settings-cut-off", good, json.dumps(settings()).encode()[:50])
    yield made("voice-rate-of-a-billion", good, settings(audio={"sample_rate": 10**9}))
    yield made("voice-speakers-named-out", good, settings(speaker_id_map={"../../outside/canary": 0}), "harmless")  # fmt: skip
