"""Wire values of voice training: speakers, uploads, clips, the doctor's report, jobs, checkpoints, recordings.

Ids of clips are the numbers of their rows in ``training_data``; their ``uid`` names the file and never changes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from backend.contracts.entities import Wire

Grade = Literal["A", "B", "C", ""]
ClipStatus = Literal["new", "accepted", "rejected"]
TextFrom = Literal["", "prompt", "import", "whisper", "recogniser", "user"]
JobState = Literal[
    "queued", "preflight", "prepare", "align", "train", "export", "verify", "process", "examine",
    "transcribe", "paused", "done", "failed", "cancelled", "interrupted",
]  # fmt: skip
JobKind = Literal["process", "doctor", "train"]
TrainerName = Literal["quick", "vits"]
FindingSeverity = Literal["ok", "hint", "warning", "problem"]


class Speaker(Wire):
    """A person whose recordings are here.

    Attributes:
        id: Slug of the name, names the speaker in every route.
        consent: What the person agreed to, in words; empty = nobody has agreed yet, and nothing may be recorded or trained.
        minutes: Minutes of accepted clips per grade.
        synthetic: The recordings were made by a machine: no consent of a person is needed.
    """

    id: str
    name: str
    language: str = "en-us"
    consent: str = ""
    consent_at: datetime | None = None
    synthetic: bool = False
    clips: int = 0
    accepted: int = 0
    minutes: dict[str, float] = Field(default_factory=dict)


class Upload(Wire):
    """A file as it came.

    Attributes:
        kind: Sound, or a list of transcripts (LJSpeech metadata.csv, CSV, SRT).
        problem: Why it was refused, empty when it can be processed; one refused at once is not kept.
        processed: It has been cut into clips.
        is_duplicate: The same file was here already; this is that one.
    """

    id: str
    filename: str
    speaker: str
    kind: Literal["sound", "transcripts"] = "sound"
    size_bytes: int = 0
    sha256: str = ""
    problem: str = ""
    processed: bool = False
    is_duplicate: bool = False
    created_at: datetime


class Clip(Wire):
    """One piece of training sound with its transcript.

    Attributes:
        uid: Names its file; stable.
        source: Name of the file it was cut from.
        start_s, end_s: Where it lies in that file.
        text_from: Who wrote the transcript; empty = it needs one.
        reasons: Why the grade is not A, in words ("room echo", "clipped").
        measures: peak_dbfs, lufs, snr_db, noise_dbfs, clipped, dc, bandwidth_hz, rate_hz, match (alignment cost; right
            transcripts lie near 0.34, wrong ones above 0.45) …; missing ones were not measured.
        edited: It was trimmed or denoised; the sound from before is kept.
        models: Names of the voices that were trained from it.
    """

    id: int
    uid: str
    speaker: str
    source: str = ""
    start_s: float = 0.0
    end_s: float = 0.0
    duration_s: float
    transcript: str = ""
    text_from: TextFrom = ""
    language: str = ""
    emotion: str = ""
    grade: Grade = ""
    reasons: tuple[str, ...] = ()
    status: ClipStatus = "new"
    measures: dict[str, float] = Field(default_factory=dict)
    sha256: str = ""
    edited: bool = False
    models: tuple[str, ...] = ()
    created_at: datetime
    updated_at: datetime


class ClipPage(Wire):
    """Clips that fit a question, and sums over all of them (not only this page)."""

    clips: tuple[Clip, ...]
    total: int
    accepted: int
    minutes: dict[str, float] = Field(default_factory=dict)
    """Accepted minutes per grade."""
    grades: dict[str, int] = Field(default_factory=dict)
    """Clips per grade, whatever their status."""
    waiting: int = 0
    """Clips that are neither accepted nor rejected."""
    can_undo: str = ""
    """What an undo would take back ("trim of clip 41"), empty when there is nothing."""


class Finding(Wire):
    """One thing the doctor says about a dataset.

    Attributes:
        code: Stable name ("clipping", "mixed_speakers", "wrong_transcript", "too_little", …).
        clips: Ids of the clips it is about.
    """

    code: str
    severity: FindingSeverity
    title: str
    detail: str = ""
    fix: str = ""
    clips: tuple[int, ...] = ()
    value: float | None = None


class DoctorReport(Wire):
    """What the doctor found in a speaker's accepted clips.

    Attributes:
        outdated: The clips have changed since.
        lengths: Clips per length bucket: (from s, to s, clips).
        coverage: Share of the language's phonemes heard often enough, 0-1.
        missing: Phonemes hardly heard (IPA).
        suggestions: Ids of prompts that would add them.
    """

    speaker: str
    at: datetime
    outdated: bool = False
    verdict: str
    findings: tuple[Finding, ...]
    minutes: dict[str, float] = Field(default_factory=dict)
    lengths: tuple[tuple[float, float, int], ...] = ()
    coverage: float = 0.0
    missing: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()


class CheckpointScores(Wire):
    """How well a checkpoint speaks; None = not measured.

    Attributes:
        clear_words: Share of words a recogniser understands, 0-1.
        mcd_db: Mel-cepstral distance to held-back clips, lower is better.
        similarity: To the speaker, 0-1.
        pitch_semitones: Difference of the median pitches, 0 is best.
    """

    clear_words: float | None = None
    mcd_db: float | None = None
    similarity: float | None = None
    pitch_semitones: float | None = None
    loss: float | None = None


class Checkpoint(Wire):
    """A saved state of a training.

    Attributes:
        id: "<job id>:<name>".
        step: 0 = before training.
        sample_url: The test sentence spoken by it; empty while it is not rendered.
    """

    id: str
    job_id: str
    step: int
    is_best: bool = False
    is_last: bool = False
    size_bytes: int = 0
    sample_url: str = ""
    sample_text: str = ""
    scores: CheckpointScores = CheckpointScores()
    created_at: datetime


class LossPoint(Wire):
    """A point of the loss curve."""

    step: int
    train: float | None = None
    validation: float | None = None


class Job(Wire):
    """A processing, an examination or a training.

    Attributes:
        progress: 0-1; None = unknown.
        message: Plain words on what it does, or why it failed and what to do.
        code: Stable name of the reason when it failed ("base.confirm", "disk.full").
        verdict: While training: is it worth going on?
        losses: Every part of the loss at the last step.
        result: Of a finished job: voice name, files refused, clips made …
        can_resume: Resume continues it.
        export_of: The training of whose checkpoint a voice is made here; nothing is trained. Empty = a job of its own.
    """

    id: str
    kind: JobKind
    name: str = ""
    speaker: str = ""
    trainer: TrainerName | None = None
    character_id: str = ""
    state: JobState
    progress: float | None = None
    step: int = 0
    steps: int | None = None
    loss: float | None = None
    losses: dict[str, float] = Field(default_factory=dict)
    steps_per_s: float | None = None
    eta_s: float | None = None
    elapsed_s: float = 0.0
    memory_mb: float | None = None
    message: str = ""
    code: str = ""
    verdict: str = ""
    warnings: tuple[str, ...] = ()
    can_resume: bool = False
    export_of: str = ""
    target_picture_url: str = ""
    made_picture_url: str = ""
    result: dict[str, object] = Field(default_factory=dict)
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


class BaseFile(Wire):
    """A checkpoint in the models folder that a full training can start from.

    Attributes:
        path: Relative to the models folder; what a training request names.
    """

    path: str
    title: str
    size_bytes: int


class VoiceCard(Wire):
    """What is known of a trained voice: who agreed, from what it was made, how good it is."""

    name: str
    speaker: str
    consent: str
    licence: str = ""
    language: str
    rate_hz: int
    trainer: TrainerName
    job_id: str
    clips: int
    minutes: float
    data_sha256: str
    steps: int
    scores: CheckpointScores = CheckpointScores()
    made_at: datetime


class Prompt(Wire):
    """A sentence to read aloud.

    Attributes:
        id: "<language>-<number>".
        recorded: The speaker has an accepted clip of it.
    """

    id: str
    language: str
    text: str
    recorded: bool = False
    suggested: bool = False


class RecordingCheck(Wire):
    """What is to say about a take: level, noise, clipping, length, and whether anybody spoke."""

    ok: bool
    notes: tuple[str, ...] = ()
    peak_dbfs: float = -120.0
    noise_dbfs: float = -120.0
    snr_db: float = 0.0
    duration_s: float = 0.0


class RoomNoise(Wire):
    """How noisy the room is while nobody speaks."""

    noise_dbfs: float
    ok: bool
    advice: str


class Recording(Wire):
    """The guided recording.

    Attributes:
        take_id: The finished take that waits for keep or discard, empty = none.
        take_url: The take as sound.
    """

    state: Literal["idle", "recording", "review"]
    speaker: str = ""
    prompt: Prompt | None = None
    device: str = ""
    take_id: str = ""
    take_url: str = ""
    check: RecordingCheck | None = None
    problem: str = ""
