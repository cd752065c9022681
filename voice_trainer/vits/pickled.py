"""Read a PyTorch checkpoint without running anything in it: weights and plain settings come out, all else is only named.

A ``.ckpt`` is a zip archive with a pickle in it, and a pickle is a program. Here every name it calls for is answered by a
stand-in of ours that does nothing, and tensors are cut out of the archive by numbers that were checked against the
record's size. Standard library and numpy only.

Source: the layout is that of ``torch.serialization`` (zip format, since PyTorch 1.6).
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

MOST_RECORDS = 20_000
MOST_PICKLE_BYTES = 64 << 20
MOST_TENSOR_VALUES = 1 << 28
MOST_SETTINGS = 200

_STORAGES: dict[str, str] = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
_PLAIN = frozenset(
    {
        "collections.OrderedDict",
        "collections.defaultdict",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib.PurePath",
        "pathlib.PurePosixPath",
        "pathlib.PureWindowsPath",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.Size",
        "torch.device",
        "torch.float32",
        *(f"torch.{name}" for name in _STORAGES),
    }
)
"""What a file of weights and settings may call for."""

_KNOWN_TOOLS = (
    "argparse.",
    "jsonargparse.",
    "lightning.",
    "lightning_fabric.",
    "lightning_utilities.",
    "numpy.",
    "omegaconf.",
    "piper.",
    "piper_train.",
    "pytorch_lightning.",
    "torch.",
    "torchmetrics.",
)
"""Where training programs leave more than weights: settings objects, states of callbacks."""

_KNOWN_FUNCTIONS = frozenset(
    {
        "_codecs.encode",
        "copy_reg._reconstructor",
        "copyreg._reconstructor",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy.dtype",
        "numpy.ndarray",
        *(
            f"{module}.{name}"
            for module in ("builtins", "__builtin__")
            for name in (
                "set",
                "frozenset",
                "slice",
                "complex",
                "bytearray",
                "dict",
                "list",
                "object",
            )
        ),
    }
)


class RefusedError(Exception):
    """The file is not read; the message says why, as the end of a sentence about it."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What was found.

    Attributes:
        shapes: Of every weight of the networks, by name.
        settings: Numbers, texts and lists of them that its training was set up with.
        step: Its ``global_step`` and ``epoch``, 0 when it does not say.
        strangers: Other things it calls for, as "module.name", sorted; none of them was touched.
    """

    shapes: dict[str, tuple[int, ...]]
    settings: dict[str, Any]
    step: int
    epoch: int
    strangers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Storage:
    kind: str
    key: str
    values: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StandIn:
    """Takes the place of everything that is not plain: can be made, called and filled, and does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __new__(cls, *args: object, **kwargs: object) -> _StandIn:
        return object.__new__(cls)

    def __call__(self, *args: object, **kwargs: object) -> _StandIn:
        return self

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """For pickles that fill a list of their own kind."""

    def extend(self, values: object) -> None:
        """As `append`."""


class PickledCheckpoint:
    """An open checkpoint.

    Args:
        file: Open for reading and seeking; stays the caller's.

    Raises:
        RefusedError: It is no checkpoint, or one that is not read here.
    """

    def __init__(self, file: IO[bytes]) -> None:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        try:
            self._archive = zipfile.ZipFile(file)
            self._records = _records(self._archive, size)
            root, strangers = _unpickle(self._read("data.pkl", MOST_PICKLE_BYTES))
        except RefusedError:
            raise
        except Exception as error:  # zipfile and pickle answer broken files with a dozen of classes
            raise RefusedError(f"it is broken ({type(error).__name__}: {error!s:.200})") from error
        self._tensors = _weights(root)
        settings = root.get("hyper_parameters")
        self.contents = Contents(
            {name: tensor.shape for name, tensor in self._tensors.items()},
            _plain_settings(settings) if isinstance(settings, dict) else {},
            _count(root.get("global_step")),
            _count(root.get("epoch")),
            strangers,
        )

    def tensors(self) -> Iterator[tuple[str, FloatArray]]:
        """Every weight in turn, as float32; one at a time is in memory.

        Raises:
            RefusedError: A weight does not fit into its record, or is not a number.
        """
        for name, tensor in self._tensors.items():
            yield name, self._values(name, tensor)

    def _values(self, name: str, tensor: _Tensor) -> FloatArray:
        count = math.prod(tensor.shape)
        ends = sum((one - 1) * stride for one, stride in zip(tensor.shape, tensor.strides, strict=True))  # fmt: skip
        if count == 0:
            return np.zeros(tensor.shape, np.float32)
        if count > MOST_TENSOR_VALUES or tensor.offset + ends >= tensor.storage.values:
            raise RefusedError(f"the weight {name[:80]!r} claims more than its record holds")
        kind = tensor.storage.kind
        width = 2 if kind == "bf16" else np.dtype(kind).itemsize
        data = self._read(f"data/{tensor.storage.key}", tensor.storage.values * width)
        if len(data) < tensor.storage.values * width:
            raise RefusedError(f"the record of the weight {name[:80]!r} is cut off")
        if kind == "bf16":
            raw = np.frombuffer(data, "<u2", tensor.storage.values).astype("<u4") << 16
            flat = raw.view("<f4")
        else:
            flat = np.frombuffer(data, kind, tensor.storage.values)
        # Inside its record, as checked above; strides are those of a copy or of a transposed one.
        view = np.lib.stride_tricks.as_strided(
            flat[tensor.offset :], tensor.shape, [one * flat.itemsize for one in tensor.strides]
        )
        values = np.ascontiguousarray(view, np.float32)
        if not np.isfinite(values).all():
            raise RefusedError(f"the weight {name[:80]!r} holds something that is no number")
        return values

    def _read(self, name: str, most: int) -> bytes:
        record = self._records.get(name)
        if record is None:
            raise RefusedError(f"it has no record {name[:80]!r}")
        if record.file_size > max(most, 64):
            raise RefusedError(f"its record {name[:80]!r} has {record.file_size:,} bytes, more than it should")  # fmt: skip
        try:
            return self._archive.read(record)
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
            raise RefusedError(f"its record {name[:80]!r} is broken ({error!s:.100})") from error


def _records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The archive's records by their name below its one folder."""
    found = archive.infolist()
    if len(found) > MOST_RECORDS:
        raise RefusedError(f"it has {len(found):,} records, more than {MOST_RECORDS:,}")
    if sum(record.compress_size for record in found) > size:
        raise RefusedError("its records claim more bytes than the file has")
    records = {}
    for record in found:
        if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size:
            raise RefusedError(f"its record {record.filename[:80]!r} is compressed, as PyTorch never does")  # fmt: skip
        parts = PurePosixPath(record.filename).parts
        if record.filename.startswith("/") or ".." in parts or "\\" in record.filename:
            raise RefusedError(f"its record {record.filename[:80]!r} points out of the archive")
        below = "/".join(parts[1:])
        if below in records:
            raise RefusedError(f"it has two records {below[:80]!r}")
        records[below] = record
    if "data.pkl" not in records:
        raise RefusedError("it is a zip archive, but no PyTorch checkpoint")
    return records


def _unpickle(program: bytes) -> tuple[dict[Any, Any], tuple[str, ...]]:
    """The root object with stand-ins in it, and what was called for besides the plain things."""
    strangers: set[str] = set()

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            asked = f"{module}.{name}"
            if asked not in _PLAIN:
                if len(strangers) >= 1000:
                    raise RefusedError("it calls for more than 1,000 things besides weights")
                strangers.add(asked[:200])
            if module == "torch" and name in _STORAGES:
                return _StorageKind(name)
            return _ANSWERS.get(asked, _StandIn)

        def persistent_load(self, pid: Any) -> Any:
            return _storage(pid)

    try:
        root = Reader(io.BytesIO(program)).load()
    finally:
        _refuse_programs(strangers)  # it matters more than what else is wrong
    if not isinstance(root, dict):
        raise RefusedError("it holds no dictionary, so no training left it")
    return root, tuple(sorted(strangers))


def _refuse_programs(strangers: set[str]) -> None:
    """Refuse what no training program leaves behind; of known tools, things like classes are let pass."""
    bad = sorted(one for one in strangers if not _is_of_a_training(one))
    if bad:
        raise RefusedError(
            f"it calls for {some(bad)}, which no training leaves behind: somebody wants code to run on your"
            " computer. Nothing of it was run. Delete it"
        )


def _is_of_a_training(asked: str) -> bool:
    if asked in _KNOWN_FUNCTIONS:
        return True
    name = asked.rpartition(".")[2]
    return asked.startswith(_KNOWN_TOOLS) and (
        name[:1].isupper() or name.startswith(("_rebuild_", "float", "int", "bfloat"))
    )


def some(names: Sequence[str]) -> str:
    """The first few of a list, in words."""
    shown = ", ".join(name[:60] for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


@dataclass(frozen=True, slots=True)
class _StorageKind:
    """A storage class of torch, by name."""

    name: str

    def __call__(self, *args: object) -> _StandIn:
        return _StandIn()


def _storage(pid: Any) -> _Storage:
    match pid:
        case ("storage", _StorageKind(name), str(key), str(), int(values)) if values >= 0:
            return _Storage(_STORAGES[name], key, values)
    raise RefusedError("it refers to something outside of itself")


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: object) -> _Tensor:
    if not (
        isinstance(storage, _Storage)
        and _is_count(offset)
        and isinstance(shape, tuple)
        and isinstance(strides, tuple)
        and len(shape) == len(strides) <= 8
        and all(_is_count(one) for one in (*shape, *strides))
    ):
        raise RefusedError("a tensor in it is described by something other than numbers")
    if math.prod(shape) > storage.values:
        raise RefusedError(f"a tensor in it claims the shape {shape!s:.80}, more than is stored")
    return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(data: Any, *_: object) -> Any:
    return data


def _size(*values: Any) -> tuple[Any, ...]:
    return tuple(values[0]) if values and isinstance(values[0], list | tuple) else ()


def _text(*parts: object) -> str:
    return "/".join(part for part in parts if isinstance(part, str))[:1000]


def _no_default(*_: object) -> dict[Any, Any]:
    return {}


_ANSWERS: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "collections.defaultdict": _no_default,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.Size": _size,
    **{name: _text for name in _PLAIN if name.startswith("pathlib.")},
}


def _weights(root: dict[Any, Any]) -> dict[str, _Tensor]:
    state = root.get("state_dict")
    if not isinstance(state, dict):
        raise RefusedError("it has no state_dict, so it is no checkpoint of a training")
    found = {
        name: tensor
        for name, tensor in state.items()
        if isinstance(name, str) and isinstance(tensor, _Tensor)
    }
    weights = {
        name: tensor for name, tensor in found.items() if name.startswith(("model_g.", "model_d."))
    }
    if not any(name.startswith("model_g.") for name in weights):
        some = ", ".join(sorted(found)[:3]) or "nothing"
        raise RefusedError(f"it holds no Piper voice, but {some[:120]}")
    return weights


def _plain_settings(found: dict[Any, Any]) -> dict[str, Any]:
    return {
        name[:80]: value
        for name, value in list(found.items())[:MOST_SETTINGS]
        if isinstance(name, str) and _is_plain(value)
    }


def _is_plain(value: Any, depth: int = 3) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int | float):
        return math.isfinite(value) and abs(value) < 1e15
    if isinstance(value, str):
        return len(value) <= 1000
    if isinstance(value, list | tuple) and depth > 0 and len(value) <= 100:
        return all(_is_plain(one, depth - 1) for one in value)
    return False


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def _count(value: Any) -> int:
    return value if _is_count(value) else 0
