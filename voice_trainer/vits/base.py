"""The checkpoint a training starts from: found, checked against its digest, read without running anything in it.

Luma's own checkpoints and converted ones are safetensors; a ``.ckpt`` of piper's trainer goes through `convert` first.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voice_trainer.loop import TrainerError
from voice_trainer.vits import convert

if TYPE_CHECKING:
    import torch

CONVERTED = "base.safetensors"
OLD_PICKLE = b"\x80"  # a pickle on its own, as PyTorch wrote until 1.5
MOST_HEADER_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Base:
    """Weights to start from.

    Attributes:
        weights: By piper's names ("model_g.…", "model_d.…"), float32, on the CPU.
        sha256: Of the file they came from.
    """

    weights: dict[str, torch.Tensor]
    sha256: str


def read_base(path: Path, folder: Path, *, sha256: str = "", confirmed: str = "") -> Base:
    """Read a base.

    Args:
        path: The file.
        folder: Where a converted one may be kept; exists.
        sha256: What its digest must be; empty = not checked.
        confirmed: Digest of a file in the old format that the user confirmed.

    Raises:
        TrainerError: base.missing, base.changed, base.confirm (the user may confirm it) or base.refused.
    """
    name = path.name[:120]
    try:
        kind = _kind(path)
        digest = _sha256(path)
    except OSError as error:
        raise TrainerError(
            "base.missing",
            f"The base {name} cannot be read ({error.strerror}). Choose another base, or none.",
        ) from error
    if sha256 and digest != sha256.lower():
        raise TrainerError(
            "base.changed",
            f"The base {name} is not the file that was chosen: its SHA-256 begins with {digest[:12]}, not with"
            f" {sha256[:12].lower()}. Download it again.",
        )
    if kind == "checkpoint":
        path = _converted(path, folder, digest, confirmed)
    return Base(_weights(path, name), digest)


def _kind(path: Path) -> str:
    """What the file is, by its content: names lie."""
    if path.exists() and not path.is_file():
        raise _refused(path.name, "it is no file")
    with path.open("rb") as file:
        start = file.read(16)
    if start[:2] == b"PK" and zipfile.is_zipfile(path):
        return "checkpoint"
    if start[:1] == OLD_PICKLE:
        raise _refused(
            path.name,
            "it is in PyTorch's format from before 2020, a program without an archive around it, which is not read",
        )
    header = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and 2 <= header <= MOST_HEADER_BYTES:
        return "safetensors"
    if path.suffix.lower() == ".onnx":
        raise _refused(
            path.name,
            "a finished voice (.onnx) cannot be trained on; take the checkpoint (.ckpt) it was made from",
        )
    raise _refused(path.name, "it is neither a checkpoint of piper's trainer nor one of Luma's")


def _converted(path: Path, folder: Path, digest: str, confirmed: str) -> Path:
    target = folder / CONVERTED
    if _source_of(target) == digest:
        return target  # by an earlier run of this job
    try:
        done = convert.convert(path, target, confirmed=confirmed.lower())
    except convert.ConvertError as error:
        if error.strangers:
            raise TrainerError(
                "base.confirm", f"The base {path.name[:120]} is not used: {error}."
            ) from error
        raise _refused(path.name, str(error)) from error
    if done.sha256 != digest:
        target.unlink()
        raise _refused(path.name, "it changed while it was read")
    return target


def _source_of(path: Path) -> str:
    """Digest of the checkpoint that a converted file was made from; empty when there is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("source_sha256", ""))
    except (OSError, SafetensorError):
        return ""


def _weights(path: Path, name: str) -> dict[str, torch.Tensor]:
    import torch
    from safetensors import SafetensorError, safe_open

    weights = {}
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():
                if key.startswith(("model_g.", "model_d.")):
                    weights[key] = file.get_tensor(key).to(torch.float32)
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise _refused(name, f"it is broken ({error!s:.200})") from error
    if not any(key.startswith("model_g.") for key in weights):
        raise _refused(name, "it holds no weights of a full training")
    for key, weight in weights.items():
        if not bool(torch.isfinite(weight).all()):
            raise _refused(name, f"its weight {key[:80]!r} holds something that is no number")
    return weights


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refused(name: str, why: str) -> TrainerError:
    return TrainerError(
        "base.refused", f"The base {name[:120]} is not used: {why}. Choose another base, or none."
    )
