"""Turn somebody's PyTorch checkpoint into a file of plain weights, in a process that can do nothing else.

`convert` starts this file as a program: isolated, with an empty environment, limits on memory, time and files, and every
way out shut (files, processes, sockets) before the first byte of the pickle is looked at. What comes back is safetensors.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from voice_trainer.vits import pickled

ROOT = Path(__file__).resolve().parent.parent.parent

TIMEOUT_S = 600.0
MOST_FILE_BYTES = 4 << 30
MEMORY_BYTES = 3 << 30
CPU_S = 300
MOST_REPLY_BYTES = 4 << 20
EXIT_REFUSED = 3

FORMAT = "luma-vits-weights"


class ConvertError(Exception):
    """The checkpoint was not converted; the message is the end of a sentence about it.

    Attributes:
        strangers: What it calls for besides weights, when that is the reason and a person may confirm it.
    """

    def __init__(self, message: str, strangers: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.strangers = strangers


@dataclass(frozen=True, slots=True)
class Converted:
    """What the new file holds.

    Attributes:
        sha256: Of the checkpoint it was made from.
        shapes: Of every weight.
        settings: What its training was set up with.
    """

    sha256: str
    shapes: dict[str, tuple[int, ...]]
    settings: dict[str, Any]
    step: int
    strangers: tuple[str, ...]


def convert(source: Path, target: Path, *, confirmed: str = "") -> Converted:
    """Write the weights of a ``.ckpt`` as safetensors; ``target`` appears only when all went well.

    Args:
        source: The checkpoint; only read.
        target: In a folder that exists.
        confirmed: SHA-256 of the file that the user confirmed although it holds more than weights.

    Raises:
        ConvertError: It is not read; says why.
    """
    size = source.stat().st_size
    if size > MOST_FILE_BYTES:
        raise ConvertError(
            f"it has {size / 2**30:.1f} GB, more than {MOST_FILE_BYTES >> 30}; no Piper checkpoint is that large"
        )
    partial = target.with_name(f".{target.name}.partial")
    try:
        reply = _in_a_child(source, partial, confirmed, size)
        found = Converted(
            reply["sha256"],
            {name: tuple(shape) for name, shape in reply["shapes"].items()},
            reply["settings"],
            reply["step"],
            tuple(reply["strangers"]),
        )
        partial.replace(target)
        return found
    finally:
        partial.unlink(missing_ok=True)


def _in_a_child(source: Path, partial: Path, confirmed: str, size: int) -> dict[str, Any]:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r});"
        " from voice_trainer.vits.convert import child; child()"
    )
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    if sys.platform == "win32":
        environment["SYSTEMROOT"] = os.environ.get("SYSTEMROOT", "")  # noqa: TID251 - Windows starts nothing without
    with source.open("rb") as given, partial.open("wb") as made:
        command = [sys.executable, "-I", "-B", "-X", "utf8", "-c", program, confirmed, str(size)]
        try:
            # The files travel as stdin and stdout, so that the child needs to open none.
            done = subprocess.run(
                command,
                stdin=given,
                stdout=made,
                stderr=subprocess.PIPE,
                env=environment,
                timeout=TIMEOUT_S,
                check=False,
                cwd=partial.parent,
            )
        except subprocess.TimeoutExpired as error:
            raise ConvertError(f"reading it took more than {TIMEOUT_S:.0f} s") from error
        made.flush()
        os.fsync(made.fileno())
    try:
        reply = json.loads(done.stderr[-MOST_REPLY_BYTES:].splitlines()[-1])
    except (ValueError, IndexError):
        reply = None
    if not isinstance(reply, dict) or done.returncode not in (0, EXIT_REFUSED):
        raise ConvertError("reading it ended the process that read it; it is broken or too large")
    if "refused" in reply:
        raise ConvertError(str(reply["refused"]), tuple(reply.get("strangers", ())))
    return reply


# --- in the child ------------------------------------------------------------------------------------------------------


def child() -> NoReturn:
    """Convert stdin to stdout; the reply is the last line of stderr."""
    confirmed, size = sys.argv[1], int(sys.argv[2])
    _prepare()
    _limit(size)
    _shut()
    source, target = sys.stdin.buffer, sys.stdout.buffer
    try:
        digest = _sha256(source)
        checkpoint = pickled.PickledCheckpoint(source)
        _judge(checkpoint.contents.strangers, digest == confirmed)
        contents = checkpoint.contents
        _write_weights(target, contents.shapes, checkpoint.tensors(), {"source_sha256": digest})
        reply = {
            "sha256": digest,
            "shapes": contents.shapes,
            "settings": contents.settings,
            "step": contents.step,
            "strangers": contents.strangers,
        }
    except pickled.RefusedError as error:
        _end({"refused": str(error)}, EXIT_REFUSED)
    except _ConfirmError as error:
        _end({"refused": str(error), "strangers": error.strangers}, EXIT_REFUSED)
    except MemoryError:
        _end({"refused": "it needs more memory than a checkpoint may"}, EXIT_REFUSED)
    _end(reply, 0)


class _ConfirmError(Exception):
    def __init__(self, message: str, strangers: tuple[str, ...]) -> None:
        super().__init__(message)
        self.strangers = strangers


def _judge(strangers: tuple[str, ...], is_confirmed: bool) -> None:
    if strangers and not is_confirmed:
        raise _ConfirmError(
            f"it is in the old format that holds more than weights (it calls for {pickled.some(strangers)}). If you"
            " trust where it comes from, confirm this file and start again: its weights are then taken out in a"
            " process of its own, and nothing in it is run",
            strangers[:50],
        )


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _write_weights(
    file: IO[bytes],
    shapes: dict[str, tuple[int, ...]],
    tensors: Iterator[tuple[str, Any]],
    metadata: dict[str, str],
) -> None:
    """Safetensors, one weight in memory at a time: length of the header, header, values.

    Source: the format page of safetensors 0.8.
    """
    header: dict[str, Any] = {"__metadata__": {"format": FORMAT, **metadata}}
    at = 0
    for name, shape in shapes.items():
        end = at + 4 * _product(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for _, values in tensors:
        file.write(values.tobytes())
    file.flush()


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for one in shape:
        count *= one
    return count


def _prepare() -> None:
    """Use once what Python would load from disk at first use: afterwards nothing can be opened."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(), "w") as archive:
        archive.writestr("a/b", b"")
    "a".encode("utf-16-le").decode("utf-16-le")
    b"a".decode("cp437")
    b"a".decode("latin-1")
    try:
        raise RecursionError
    except RecursionError:
        pass


def _limit(size: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the time limit of the parent and the shut ways remain
        return
    wanted = {
        resource.RLIMIT_AS: MEMORY_BYTES + size,
        resource.RLIMIT_CPU: CPU_S,
        resource.RLIMIT_FSIZE: 2 * size
        + (64 << 20),  # half-precision weights grow to twice their size
        resource.RLIMIT_NOFILE: 16,
        resource.RLIMIT_CORE: 0,
    }
    for what, value in wanted.items():
        _, most = resource.getrlimit(what)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        try:
            resource.setrlimit(what, (value, value))
        except (ValueError, OSError):
            continue  # a system that does not know it


def _shut() -> None:
    """From here on Python itself refuses files, processes, sockets and libraries; that cannot be taken back."""
    starts = ("open", "os.", "socket.", "subprocess.", "shutil.", "ctypes.", "tempfile.", "winreg.", "pty.", "exec", "compile", "code.", "sys._", "urllib.", "mmap.", "import")  # fmt: skip
    imported = frozenset(sys.modules)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import" and arguments and arguments[0] in imported:
            return
        if event.startswith(starts):
            raise PermissionError(f"refused while reading a checkpoint: {event}")

    sys.addaudithook(look)


def _end(reply: dict[str, Any], status: int) -> NoReturn:
    sys.stderr.buffer.write(b"\n" + json.dumps(reply).encode() + b"\n")
    sys.stderr.buffer.flush()
    os._exit(status)
