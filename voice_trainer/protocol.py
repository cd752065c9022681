"""What the trainer and whoever starts it say to each other: one folder per job, plain files, stdlib only.

The starter writes ``job.json`` and starts ``python -m voice_trainer COMMAND FOLDER``. The trainer appends one JSON object
per line to ``progress.jsonl`` and reads ``control.json`` between two steps. Either side may be killed at any moment: every
file is replaced as a whole, and a last line that was cut short is ignored.

    job.json        what is wanted (`JobSpec`); written once
    control.json    what is asked of the running trainer (`Control`); the starter replaces it
    progress.jsonl  what happened, append only, over all runs of the job
    process.json    who runs it now: {"pid", "started_at"}; its start time tells a reused process id from the trainer
    trainer.log     everything the trainer printed
    lock            held by the running trainer: a second one refuses to start
    clips.json      the clips to train on or to examine (`ClipSpec`), for prepare, train and doctor
    uploads.json    the files to cut into clips (`UploadSpec`), for process
    dataset/        features and alignment     checkpoints/  samples/  export/     results
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

VERSION = 1

JOB = "job.json"
CONTROL = "control.json"
PROGRESS = "progress.jsonl"
PROCESS = "process.json"
LOG = "trainer.log"
LOCK = "lock"
CLIPS = "clips.json"
UPLOADS = "uploads.json"
DATASET, CHECKPOINTS, SAMPLES, EXPORT = "dataset", "checkpoints", "samples", "export"

LONGEST_LINE = 1 << 20
PROGRESS_PER_S = 4.0

Command = Literal["process", "doctor", "prepare", "train", "export", "evaluate"]
Trainer = Literal["quick", "vits"]
Order = Literal["run", "pause", "stop"]


class State(StrEnum):
    """Where a job is. QUEUED until its process runs; the last four are ends (INTERRUPTED can be resumed)."""

    QUEUED = "queued"
    PREFLIGHT = "preflight"
    PREPARE = "prepare"
    ALIGN = "align"
    TRAIN = "train"
    EXPORT = "export"
    VERIFY = "verify"
    PROCESS = "process"
    EXAMINE = "examine"
    TRANSCRIBE = "transcribe"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


ENDED = frozenset({State.DONE, State.FAILED, State.CANCELLED, State.INTERRUPTED})


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train; the first limit that is reached ends it.

    Attributes:
        steps: Optimizer steps; None = no limit in steps.
        seconds: Time spent in training steps (pauses and preparation not counted); None = no limit.
    """

    steps: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What is wanted.

    Attributes:
        id: The job's id, also the folder's name.
        command: What the job is for.
        name: The voice's name ("hoshi-v4"): letters, digits, "-" and "_"; becomes the file name of the export.
        trainer: Which trainer.
        language: espeak voice of the transcripts ("en-us", "de").
        rate_hz: Of the voice: 16000 or 22050.
        speaker: Whose clips they are.
        budget: When to stop; neither limit = the trainer's own default.
        seed: Of everything random.
        threads: CPU threads; 0 = as many as there are physical cores that nobody else uses.
        device: "auto", "cpu" or "cuda".
        base: Checkpoint to start from: "" = the shipped one (quick) or none (vits), "none" = from scratch, else a path.
        base_sha256: Expected digest of a base given by path; empty = not checked.
        allow_unsafe_base: SHA-256 of a base file in the old pickle format that the user confirmed; it is converted in a
            process of its own.
        test_sentence: What every checkpoint says.
        sample_every: Steps between two spoken test sentences; 0 = chosen by the trainer.
        keep: Checkpoints kept beside the last and the best.
        options: Further settings of the command (process: denoise, language; vits: quality, batch_size, precision).
    """

    id: str
    command: Command
    name: str = ""
    trainer: Trainer = "quick"
    language: str = "en-us"
    rate_hz: int = 22_050
    speaker: str = ""
    budget: Budget = field(default_factory=Budget)
    seed: int = 1234
    threads: int = 0
    device: str = "auto"
    base: str = ""
    base_sha256: str = ""
    allow_unsafe_base: str = ""
    test_sentence: str = ""
    sample_every: int = 0
    keep: int = 5
    options: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """One clip to learn from or to examine.

    Attributes:
        uid: Stable id of the clip.
        path: WAV file, absolute or relative to the job folder.
        text: What is said in it.
        sha256: Of the file, empty = not checked.
        grade: "A", "B", "C" or empty.
        language: espeak voice of the text; empty = the job's.
        measures: What was measured of it so far, by name.
    """

    uid: str
    path: str
    text: str
    duration_s: float
    sha256: str = ""
    speaker: str = ""
    emotion: str = ""
    grade: str = ""
    language: str = ""
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UploadSpec:
    """One file to cut into clips.

    Attributes:
        id: The upload's id.
        path: Where it lies, absolute.
        filename: What its sender called it; for messages and for matching transcripts by name.
        text: What is said in all of it, when known (a guided recording, a line of metadata.csv).
        kind: Sound to cut, or a list of transcripts for the other files of the job (LJSpeech, CSV, SRT).
        is_prompt: It was recorded from a prompt: one sentence, cut at its ends only.
    """

    id: str
    path: str
    filename: str
    text: str = ""
    speaker: str = ""
    emotion: str = ""
    language: str = ""
    kind: Literal["sound", "transcripts"] = "sound"
    is_prompt: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """What is asked of the running trainer; it looks between two steps.

    Attributes:
        order: run (or go on), pause, or stop (save and end as cancelled).
        threads: Upper limit of CPU threads for now (1 while a turn is spoken); 0 = as the job says.
        sample: Counts up: a spoken test sentence of the current weights is wanted.
        checkpoint: Counts up: a checkpoint is wanted.
    """

    order: Order = "run"
    threads: int = 0
    sample: int = 0
    checkpoint: int = 0


# --- lines of progress.jsonl: {"kind": …, "at": seconds since 1970, …} ------------------------------------------------
#
# state       state: State, message: str
# progress    state, fraction: 0-1 | null, message; while training also step, steps | null, loss {"train", "validation", …},
#             steps_per_s, eta_s | null, memory_mb, learning_rate, verdict (plain words: "still improving")
# checkpoint  id, step, path, loss {…}, is_best: bool, size_bytes
# dropped     id: a checkpoint whose files were removed to make room
# sample      checkpoint: id | "", step, path (WAV in samples/), text, duration_s
# scores      checkpoint, mcd_db, similarity (0-1), pitch_semitones (difference of medians), duration_ratio, clear_words | null
# picture     step, path of a target and a synthesised spectrogram (8-bit grey PNG, low frequencies at the bottom)
# file        upload: id, filename, problem: "" or why it was refused, seconds, clips: int
# clip        a finished clip of process: uid, path, upload, start_s, end_s, duration_s, text, text_from, speaker, emotion, language,
#             grade, reasons [...], measures {...}, sha256
# finding     a line of the doctor: code, severity ("ok" | "hint" | "warning" | "problem"), title, detail, fix, clips [uid, …], value
# report      the doctor's figures: {...}
# warning     message: something the user should know, work goes on
# done        result {...}: the very last line of a job that succeeded
# error       code, message: what happened and what to do; the last line of a job that failed

# Options (`JobSpec.options`) of export and evaluate, when a checkpoint is to be heard or kept as a voice. They run in a folder
# of their own, so that the training goes on meanwhile:
#
# job         folder of the training, absolute; it is only read. Missing: this folder
# checkpoint  id of one of its checkpoints; missing: the best
# verify      false: the export is only listened to, leave out what takes long
#
# Results that whoever started it relies on (``done``, all paths relative to the job folder):
#
# train, export   model: the .onnx (its .onnx.json lies beside it), checkpoint: id of the checkpoint it was made from, step,
#                 scores {mcd_db, similarity, pitch_semitones, …}

_PROMPTS = Path(__file__).parent / "text" / "lists"
_SPELLINGS = {"zh": "cmn", "jp": "ja", "br": "pt-br"}  # what people call these languages


class ProtocolError(Exception):
    """A file of the job folder does not say what it must; the message names it."""


T = TypeVar("T")


def prompt_lists() -> dict[str, Path]:
    """The lists of sentences to read aloud: espeak voice ("en-us", "cmn") to text file, in order of the names."""
    return {path.stem: path for path in sorted(_PROMPTS.glob("*.txt"))}


def prompt_language(language: str) -> str:
    """The list that serves a language: its own, else one of the same tongue ("en-gb": "en-us"), else empty."""
    wanted = language.strip().lower().replace("_", "-")
    lists = prompt_lists()
    tongue = wanted.split("-")[0]
    near = [name for name in lists if name.split("-")[0] == tongue]
    for name in (wanted, _SPELLINGS.get(wanted, ""), *near, _SPELLINGS.get(tongue, "")):
        if name in lists:
            return name
    return ""


def read_prompts(language: str) -> list[str]:
    """The sentences of a language, best first; the n-th (from 1) has the id "<prompt_language>-<n>". Empty: no list."""
    name = prompt_language(language)
    if not name:
        return []
    lines = prompt_lists()[name].read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


def write_json(path: Path, value: object) -> None:
    """Replace a file as a whole: after a crash it holds the old or the new content, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, ensure_ascii=False, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ProtocolError: It is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ProtocolError(
            f"{path.name} of job {path.parent.name} cannot be read: {error}"
        ) from error


def write_job(folder: Path, spec: JobSpec) -> None:
    """Write ``job.json``."""
    write_json(folder / JOB, asdict(spec))


def read_job(folder: Path) -> JobSpec:
    """What the job wants.

    Raises:
        ProtocolError: ``job.json`` is missing, no JSON, damaged, or of a newer version.
    """
    found = read_json(folder / JOB)
    spec = _known(JobSpec, found, folder / JOB)
    _check_kinds(spec, folder)
    if spec.version > VERSION:
        raise ProtocolError(
            f"Job {folder.name} was made by a newer Luma (job format {spec.version}, this one reads {VERSION}). Update Luma."
        )
    budget = found.get("budget") if isinstance(found, dict) else None
    budget = budget if isinstance(budget, dict) else {}
    for name in ("steps", "seconds"):
        if not isinstance(budget.get(name), int | float | None):
            raise ProtocolError(f"{JOB} of job {folder.name}: budget.{name} is no number.")
    return _with_budget(spec, budget)


def write_clips(folder: Path, clips: list[ClipSpec]) -> None:
    """Write ``clips.json``."""
    write_json(folder / CLIPS, [asdict(clip) for clip in clips])


def read_clips(folder: Path) -> list[ClipSpec]:
    """The clips of the job, in order.

    Raises:
        ProtocolError: ``clips.json`` cannot be read.
    """
    path = folder / CLIPS
    return [_known(ClipSpec, one, path) for one in _list(read_json(path), path)]


def write_uploads(folder: Path, uploads: list[UploadSpec]) -> None:
    """Write ``uploads.json``."""
    write_json(folder / UPLOADS, [asdict(upload) for upload in uploads])


def read_uploads(folder: Path) -> list[UploadSpec]:
    """The files of the job, in order.

    Raises:
        ProtocolError: ``uploads.json`` cannot be read.
    """
    path = folder / UPLOADS
    return [_known(UploadSpec, one, path) for one in _list(read_json(path), path)]


def write_control(folder: Path, control: Control) -> None:
    """Ask something of the running trainer."""
    write_json(folder / CONTROL, asdict(control))


def read_control(folder: Path) -> Control:
    """What is asked of the trainer; nothing special when there is no file or it cannot be read."""
    try:
        return _known(Control, read_json(folder / CONTROL), folder / CONTROL)
    except ProtocolError:
        return Control()


class ProgressWriter:
    """Appends lines to ``progress.jsonl``; one writer per job, from one thread."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / PROGRESS).open("ab", buffering=0)
        # A line that a kill or a full disk cut short must not swallow the next one.
        self._is_cut = not _ends_whole(folder / PROGRESS)

    def write(self, kind: str, *, durable: bool = False, **fields_: Any) -> None:
        """Append one line; ``durable`` survives a power cut (states, checkpoints, ends).

        Raises:
            OSError: It could not be written whole (a full disk).
        """
        line = json.dumps(
            {"kind": kind, "at": round(datetime.now(UTC).timestamp(), 3), **_finite(fields_)},
            ensure_ascii=False,
        )
        raw = (b"\n" if self._is_cut else b"") + line.encode("utf-8", "replace") + b"\n"
        self._is_cut = True
        if self._file.write(raw) != len(raw):
            raise OSError(errno.ENOSPC, "No space left on device", str(self._file.name))
        self._is_cut = False
        if durable:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ProgressReader:
    """Follows ``progress.jsonl``; survives cut lines and a file that does not exist yet.

    Attributes:
        offset: Bytes read so far; give it back to go on where another reader stopped.
    """

    def __init__(self, folder: Path, offset: int = 0) -> None:
        self._path = folder / PROGRESS
        self.offset = offset

    def read(self) -> Iterator[dict[str, Any]]:
        """Every whole line since the last call that is a JSON object with a ``kind``."""
        try:
            with self._path.open("rb") as file:
                file.seek(self.offset)
                while line := file.readline(LONGEST_LINE):
                    if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                        return
                    self.offset += len(line)
                    try:
                        found = json.loads(line)
                    except (ValueError, RecursionError):
                        continue
                    if isinstance(found, dict) and isinstance(found.get("kind"), str):
                        yield found
        except FileNotFoundError:
            return


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _finite(value: Any) -> Any:
    """Numbers that JSON does not know become null."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def _list(found: Any, path: Path) -> list[Any]:
    if not isinstance(found, list):
        raise ProtocolError(f"{path.name} of job {path.parent.name} holds no list.")
    return found


def _known(kind: type[T], found: Any, path: Path) -> T:
    """A value of ``kind`` from the fields it knows; fields of a newer version are left out."""
    if not isinstance(found, dict):
        raise ProtocolError(f"{path.name} of job {path.parent.name} holds no object.")
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]  # only called with dataclasses
    try:
        return kind(**{name: value for name, value in found.items() if name in names})
    except TypeError as error:
        raise ProtocolError(f"{path.name} of job {path.parent.name}: {error}") from error


def _check_kinds(spec: JobSpec, folder: Path) -> None:
    """Every value is of the kind that it must be."""
    model = JobSpec(id="", command="train")
    for one in fields(JobSpec):
        if one.name != "budget" and type(getattr(spec, one.name)) is not type(
            getattr(model, one.name)
        ):
            raise ProtocolError(f"{JOB} of job {folder.name}: {one.name} is damaged.")


def _with_budget(spec: JobSpec, found: dict[str, Any]) -> JobSpec:
    values = {one.name: getattr(spec, one.name) for one in fields(JobSpec)}
    values["budget"] = Budget(steps=found.get("steps"), seconds=found.get("seconds"))
    return JobSpec(**values)
