"""Everything needed to go on training, as one safetensors file per checkpoint: whole on the disk, or not there at all.

Public names: `Checkpoints(folder, keep)` owns checkpoints/, `read(path) -> Checkpoint`, `read_header(path)`,
`fill(module, tensors)`, and `pack_*`/`unpack_*` for modules, optimizers and random numbers. Tensors are named
"model.…", "average.…", "optimizer.…", "rng.…"; step, sampler, configuration and history are JSON in the file's header.

A file is only believed after its header, sizes, shapes and numbers were checked; nothing in it is ever executed.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from voice_trainer.protocol import CHECKPOINTS

VERSION = 1
HEADER_KEY = "luma_checkpoint"
SUFFIX = ".safetensors"
NAME = re.compile(r"step-(\d{7,12})")
MOST_HEADER_BYTES = 16 << 20  # a VITS with its optimizers has 1 MB


class CheckpointError(Exception):
    """A file is no checkpoint that can be used; the message names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        tensors: All of them, on the CPU.
        state: The JSON part: at least "step".
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part ("model"), named without it."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for key, value in self.tensors.items()
            if key.startswith(prefix)
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint on the disk.

    Attributes:
        id: "step-0000400".
        score: What "best" is decided by, lower is better; None = not measured.
        state: The JSON part.
    """

    id: str
    path: Path
    step: int
    score: float | None
    size_bytes: int
    state: dict[str, Any]


class Checkpoints:
    """The folder checkpoints/ of a job.

    Args:
        job: The job folder.
        keep: Files kept beside the last and the best.
    """

    def __init__(self, job: Path, keep: int = 5) -> None:
        self.folder = job / CHECKPOINTS
        self.keep = keep

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
        score: float | None = None,
    ) -> Kept:
        """Write a checkpoint; when this returns it survives a power cut. One of the same step is replaced.

        Raises:
            OSError: The disk is full or broken; what was there before is untouched.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        _remove_halves(self.folder)
        id = f"step-{step:07d}"
        path = self.folder / f"{id}{SUFFIX}"
        write(path, tensors, {**state, "step": step, "score": score})
        return Kept(id, path, step, score, path.stat().st_size, dict(state))

    def all(self) -> list[Kept]:
        """Those that can be read, by step; broken ones are left out."""
        found = []
        for path in sorted(self.folder.glob(f"step-*{SUFFIX}")):
            try:
                found.append(_kept(path))
            except CheckpointError:
                continue
        return sorted(found, key=lambda one: one.step)

    def last(self) -> Kept | None:
        """The one to resume from."""
        found = self.all()
        return found[-1] if found else None

    def best(self) -> Kept | None:
        """The one with the lowest score; the last one while none is measured."""
        found = self.all()
        measured = [one for one in found if one.score is not None]
        if measured:
            return min(measured, key=lambda one: (one.score or 0.0, one.step))
        return found[-1] if found else None

    def named(self, id: str) -> Kept:
        """One by its id.

        Raises:
            CheckpointError: There is none, or it is broken.
        """
        if not NAME.fullmatch(id):
            raise CheckpointError(f"{id[:80]!r} is no name of a checkpoint.")
        return _kept(self.folder / f"{id}{SUFFIX}")

    def prune(self) -> list[str]:
        """Remove what need not be kept: all but the last, the best, and `keep` others spread over the steps.

        Returns:
            Ids of the removed ones.
        """
        found = self.all()
        best, last = self.best(), self.last()
        safe = {one.id for one in (best, last) if one is not None}
        others = [one for one in found if one.id not in safe]
        dropped = []
        while len(others) > self.keep:
            # The one whose neighbours are nearest to each other says least about the course of the training.
            steps = [0, *(one.step for one in others), found[-1].step]
            gaps = [steps[index + 2] - steps[index] for index in range(len(others))]
            gone = others.pop(gaps.index(min(gaps)))
            gone.path.unlink(missing_ok=True)
            dropped.append(gone.id)
        return dropped


def write(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Replace a file as a whole: written beside it, forced to the disk, renamed.

    Raises:
        OSError: It could not be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    header = {HEADER_KEY: json.dumps({**state, "version": VERSION}, allow_nan=False)}
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    # Its own copy of each: safetensors refuses tensors that share memory.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        try:
            save_file(whole, half, metadata=header)
        except SafetensorError as error:
            raise _as_os_error(error, half) from error
        with half.open("rb+") as file:
            os.fsync(file.fileno())
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read(path: Path) -> Checkpoint:
    """Read and check a checkpoint.

    Raises:
        CheckpointError: It is missing, damaged, no checkpoint, or holds numbers that are none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state = read_header(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The checkpoint {path.name} is damaged ({_reason(error)})."
        ) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"The checkpoint {path.name} holds values that are no numbers (in {name[:80]})."
            )
    return Checkpoint(tensors, state)


def read_header(path: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint, without its tensors.

    Raises:
        CheckpointError: It is missing, damaged, or no checkpoint of ours.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MOST_HEADER_BYTES, size - 8):
                raise CheckpointError(
                    f"The checkpoint {path.name} is damaged (its header claims {length:,} bytes of {size:,})."
                )
            header = json.loads(file.read(length))
        stated = json.loads(header["__metadata__"][HEADER_KEY])
        step, version = int(stated["step"]), int(stated["version"])
        end = max((int(one["data_offsets"][1]) for name, one in header.items() if name != "__metadata__"), default=0)  # fmt: skip
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint {path.name}.") from error
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {path.name} cannot be read ({error.strerror})."
        ) from error
    except (struct.error, ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise CheckpointError(
            f"{path.name} is no checkpoint of Luma's voice trainer, or it is damaged."
        ) from error
    if version > VERSION:
        raise CheckpointError(f"{path.name} was made by a newer Luma (format {version}).")
    if step < 0 or end != size - 8 - length:
        raise CheckpointError(f"The checkpoint {path.name} is damaged (it was cut short).")
    return dict(stated)


def pack(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors as a part of a checkpoint."""
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def fill(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Give a module its weights.

    Args:
        module: Receives them.
        tensors: By the module's own names.
        what: Where they come from, for the message.

    Raises:
        CheckpointError: Names or shapes do not fit.
    """
    wanted = module.state_dict()
    check_fit({name: value.shape for name, value in wanted.items()}, tensors, what)
    module.load_state_dict(dict(tensors))


def check_fit(shapes: Mapping[str, torch.Size], tensors: Mapping[str, Tensor], what: str) -> None:
    """Make sure that tensors have the names and shapes wanted.

    Raises:
        CheckpointError: They have not; the message says which.
    """
    missing = sorted(shapes.keys() - tensors.keys())
    extra = sorted(tensors.keys() - shapes.keys())
    if missing or extra:
        raise CheckpointError(
            f"{what} does not fit: {len(missing)} tensors are missing and {len(extra)} unknown"
            f" (first: {(missing or extra)[0][:80]}). It belongs to another kind of voice."
        )
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise CheckpointError(
                f"{what} does not fit: {name[:80]} has shape {tuple(tensors[name].shape)}, not {tuple(shape)}."
            )


def pack_optimizer(
    optimizer: torch.optim.Optimizer, part: str = "optimizer"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors and as JSON."""
    stored = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, values in stored["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{part}.{index}.{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    return tensors, {"groups": stored["param_groups"], "numbers": numbers}


def unpack_optimizer(
    optimizer: torch.optim.Optimizer,
    checkpoint: Checkpoint,
    values: Mapping[str, Any],
    part: str = "optimizer",
) -> None:
    """The reverse of `pack_optimizer`; ``values`` is its JSON.

    Raises:
        CheckpointError: The state is that of another optimizer.
    """
    state: dict[int, dict[str, Any]] = {}
    try:
        for key, tensor in checkpoint.part(part).items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = tensor
        for index, numbers in values["numbers"].items():
            state.setdefault(int(index), {}).update(numbers)
        groups = [
            {name: tuple(value) if name == "betas" else value for name, value in group.items()}
            for group in values["groups"]
        ]
        owners = [one for group in optimizer.param_groups for one in group["params"]]
        for place, parts in state.items():
            for name, value in parts.items():
                if isinstance(value, Tensor) and value.dim() and value.shape != owners[place].shape:
                    raise CheckpointError(
                        f"The optimizer's {name} of weight {place} has shape {tuple(value.shape)}, "
                        f"not {tuple(owners[place].shape)}."
                    )
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"The optimizer's state does not fit this training ({_reason(error)})."
        ) from error


def pack_rng() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of all random numbers that torch and Python give, as tensors and as JSON."""
    tensors = {"rng.torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        for index, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"rng.cuda{index}"] = state
    version, internal, gauss = random.getstate()
    return tensors, {"python": [version, list(internal), gauss]}


def unpack_rng(checkpoint: Checkpoint, values: Mapping[str, Any]) -> None:
    """The reverse of `pack_rng`; graphics cards that are not here any more are left out.

    Raises:
        CheckpointError: The state is none.
    """
    stored = checkpoint.part("rng")
    try:
        torch.set_rng_state(stored["torch"])
        version, internal, gauss = values["python"]
        random.setstate((version, tuple(internal), gauss))
        if torch.cuda.is_available():
            for index in range(torch.cuda.device_count()):
                if f"cuda{index}" in stored:
                    torch.cuda.set_rng_state(stored[f"cuda{index}"], index)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"The checkpoint's random numbers cannot be restored ({_reason(error)})."
        ) from error


def sync_folder(folder: Path) -> None:
    """Force a folder's list of files to the disk, so that a rename survives a power cut."""
    if sys.platform == "win32":
        return  # NTFS keeps renames in its journal; folders cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _kept(path: Path) -> Kept:
    state = read_header(path)
    score = state.get("score")
    return Kept(
        id=path.name.removesuffix(SUFFIX),
        path=path,
        step=int(state["step"]),
        score=float(score) if isinstance(score, int | float) else None,
        size_bytes=path.stat().st_size,
        state=state,
    )


def _remove_halves(folder: Path) -> None:
    """What killed trainers left."""
    for half in folder.glob(".*.half"):
        half.unlink(missing_ok=True)


def _as_os_error(error: Exception, path: Path) -> OSError:
    """Safetensors tells the system's errors in words: "Os { code: 28, kind: StorageFull, … }"."""
    found = re.search(r"code: (\d+)", str(error))
    code = int(found.group(1)) if found else errno.EIO
    return OSError(code, os.strerror(code), str(path))


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:160]
