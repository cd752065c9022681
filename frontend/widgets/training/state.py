"""What the training page knows, in one place: every card draws from it, every action goes through it.

It loads by REST, follows the events and tells the cards which topic changed. A card watches topics with `Cockpit.watch`
and reads the attributes; it keeps nothing of its own that another card could need. Tk thread only.
"""

from __future__ import annotations

import logging
import tkinter as tk
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote

from backend.contracts.entities import STAGE, Character, VoiceInfo
from backend.contracts.events import (
    CharacterChanged,
    CharacterSwitched,
    ClipsChanged,
    DoctorReported,
    Event,
    ModelSaved,
    PlaybackFinished,
    PlaybackPosition,
    PlaybackStarted,
    RecordingChanged,
    RecordingLevel,
    SpeakerChanged,
    TrainingCheckpoint,
    TrainingCompleted,
    TrainingFailed,
    TrainingProgress,
    TrainingSample,
    TrainingStarted,
    TrainingState,
    TrainingWarning,
)
from backend.contracts.training import (
    Checkpoint,
    DoctorReport,
    Job,
    JobKind,
    LossPoint,
    Recording,
    Speaker,
    Upload,
)
from frontend.client import BackendClient, Failed, Failure, Then
from frontend.stage import read_models
from frontend.theme import Theme
from frontend.widgets.training.clip_pages import ClipPages

logger = logging.getLogger(__name__)
T = TypeVar("T")

Topic = Literal[
    "speakers", "clips", "selection", "doctor", "jobs", "progress", "checkpoints", "losses", "recording", "level",
    "uploads", "playing", "character", "voices", "page",
]  # fmt: skip
"""What a card can watch. "progress" is told at most four times a second, "level" and "playing" twenty times."""

Focus = Literal["record", "clips", "doctor", "train", "listen", "use"]
"""The wizard's steps; the narrow page shows one of them at a time."""

ENDED = ("done", "failed", "cancelled", "interrupted")
PLAY_TIMEOUT_S = 60.0
MOST_JOBS = 200


def is_running(job: Job) -> bool:
    """Whether a job computes now, or will."""
    return job.state not in ENDED and job.state != "paused"


class Desk(Protocol):
    """What the cockpit needs of the window."""

    @property
    def backend(self) -> BackendClient:
        """REST and events."""

    @property
    def theme(self) -> Theme:
        """Colours, fonts, sizes."""

    @property
    def state(self) -> dict[str, Any]:
        """What the window remembers over restarts."""

    def show_tab(self, name: str) -> None:
        """Bring a tab to the front."""

    def notify(self, text: str, severity: Literal["info", "ok", "warn", "error"] = "info") -> None:
        """Say something for a few seconds."""


class Cockpit:
    """The facts of the training page and the requests that change them.

    Args:
        app: The window.
        master: A widget that lives as long as this; its timer is used.
    """

    def __init__(self, app: Desk, master: tk.Misc) -> None:
        self.app = app
        self.master = master
        self.speakers: list[Speaker] = []
        self.speaker_id = str(app.state.get("voice.speaker") or "")
        self.clips = ClipPages(self)
        self.uploads: list[Upload] = []
        """Files of the speaker that have come, newest first."""
        self.report: DoctorReport | None = None
        """What the doctor said of this speaker's clips; None = never examined."""
        self.jobs: list[Job] = []
        """All jobs of all speakers, newest first."""
        self.shown_job = ""
        """Id of the training that is looked at; empty = the speaker's newest."""
        self.checkpoints: list[Checkpoint] = []
        """Of the training that is looked at, newest first."""
        self.losses: list[LossPoint] = []
        """Likewise, by step."""
        self.recording = Recording(state="idle")
        self.level: RecordingLevel | None = None
        self.character: Character | None = None
        """Who is on stage; a finished voice is offered to her."""
        self.voices: frozenset[str] = frozenset()
        """Names that a new voice cannot get: a voice of any origin has them."""
        self.playing = ""
        """Key of what is heard ("clip:41", "checkpoint:…"); empty = nothing."""
        self.position_s = 0.0
        self.duration_s = 0.0
        self.focus: Focus = "clips"
        """The step that is looked at."""
        self.is_loaded = False
        """Whether the speakers are known: before that nothing is empty, only not there yet."""
        self.problems: dict[Topic, str] = {}
        """Why a topic could not be loaded, in words."""
        self._watchers: list[tuple[frozenset[Topic], Callable[[Topic], None]]] = []
        self._dirty: set[Topic] = set()
        self._loading: set[str] = set()
        self._again: set[str] = set()
        self._sound = ""
        self._sound_at = 0.0
        self._tick: str | None = None
        self._character_id = ""
        self._loaded_for = ""
        self._worker = ThreadPoolExecutor(1, "gui-pictures")

    # --- watching

    def watch(self, topics: Iterable[Topic], tell: Callable[[Topic], None]) -> Callable[[], None]:
        """Call ``tell(topic)`` whenever one of the topics has changed; draw coalesced (`Panel.changed` is).

        Returns:
            Ends it; for what lives shorter than the page.
        """
        entry = (frozenset(topics), tell)
        self._watchers.append(entry)

        def end() -> None:
            if entry in self._watchers:
                self._watchers.remove(entry)

        return end

    def tell(self, *topics: Topic) -> None:
        """A topic has changed."""
        for topic in topics:
            for wanted, tell in list(self._watchers):
                if topic in wanted:
                    tell(topic)

    # --- facts

    @property
    def speaker(self) -> Speaker | None:
        """Whose clips are shown."""
        return next((one for one in self.speakers if one.id == self.speaker_id), None)

    @property
    def may_use(self) -> bool:
        """Whether recordings of the speaker may be made and trained from: agreed, or no person's voice."""
        speaker = self.speaker
        return speaker is not None and (bool(speaker.consent) or speaker.synthetic)

    def jobs_of(self, kind: JobKind) -> list[Job]:
        """The speaker's jobs of a kind, newest first."""
        return [job for job in self.jobs if job.kind == kind and job.speaker == self.speaker_id]

    def running(self, kind: JobKind) -> Job | None:
        """The speaker's job of a kind that is under way."""
        return next((job for job in self.jobs_of(kind) if is_running(job)), None)

    @property
    def training(self) -> Job | None:
        """The training that is looked at: the chosen one, else the speaker's newest.

        A voice that is made of a checkpoint is no training: it would push the training it comes from out of sight.
        """
        jobs = self.jobs_of("train")
        own = [job for job in jobs if not job.export_of]
        return next((job for job in jobs if job.id == self.shown_job), own[0] if own else None)

    def job(self, job_id: str) -> Job | None:
        """A job by its id."""
        return next((job for job in self.jobs if job.id == job_id), None)

    @property
    def best(self) -> Checkpoint | None:
        """The best checkpoint that can be heard."""
        heard = [one for one in self.checkpoints if one.sample_url]
        return next((one for one in heard if one.is_best), heard[0] if heard else None)

    @property
    def voice(self) -> str:
        """Name of the voice the looked-at training has made; empty = none yet."""
        job = self.training
        return str(job.result.get("voice") or "") if job is not None else ""

    @property
    def is_given(self) -> bool:
        """Whether the character on stage speaks with that voice."""
        character = self.character
        return bool(
            self.voice
            and character is not None
            and character.voice.engine == "piper"
            and character.voice.name == self.voice
        )

    @property
    def listened(self) -> bool:
        """Whether somebody has heard a sample of the looked-at training."""
        job, heard = self.training, self.app.state.get("voice.heard")
        return job is not None and isinstance(heard, list) and job.id in heard

    # --- loading

    def load(self) -> None:
        """Load everything that is shown; also after a lost connection."""
        if self._loaded_for:  # what is looked at, searched and selected stays
            self.clips.reload()
            self.load_uploads()
            self.load_report()
            self.load_checkpoints()
        self.load_speakers()
        self.load_jobs()
        self._load_stage()
        self.load_recording()
        self.load_voices()

    def load_voices(self) -> None:
        """Load which voices there are."""

        def took(answer: Any) -> None:
            self.voices = frozenset(voice.name for voice in read_models(VoiceInfo, answer))

        self._load("voices", "/api/voices", took)

    def load_recording(self) -> None:
        """Load what the guided recording does."""
        self._load("recording", "/api/voice/record", self._took_recording)

    def load_speakers(self) -> None:
        """Load who has recordings here."""
        self._load("speakers", "/api/voice/speakers", self._took_speakers)

    def load_uploads(self) -> None:
        """Load which files have come."""
        if self.speaker_id:
            path = f"/api/voice/uploads?speaker={quote(self.speaker_id, safe='')}"
            self._load("uploads", path, self._took_uploads)

    def load_report(self) -> None:
        """Load what the doctor said last."""
        if not self.speaker_id:
            return
        who = self.speaker_id

        def took(answer: Any) -> None:
            found = read_models(DoctorReport, [answer])
            self.report = found[0] if found and who == self.speaker_id else None

        def failed(failure: Failure) -> bool:
            self.report = None
            return failure.status == 404

        path = f"/api/voice/doctor?speaker={quote(who, safe='')}"
        self._load("doctor", path, took, failed)

    def load_jobs(self) -> None:
        """Load all jobs, and what belongs to the one that is looked at."""
        self._load("jobs", "/api/voice/jobs", self._took_jobs)

    def load_checkpoints(self) -> None:
        """Load checkpoints and losses of the training that is looked at."""
        job = self.training
        if job is None:
            self.checkpoints, self.losses = [], []
            self.tell("checkpoints", "losses")
            return
        name = job.id

        def took(answer: Any) -> None:
            if self.training is not None and self.training.id == name:
                found = read_models(Checkpoint, answer, "checkpoints", "items")
                self.checkpoints = sorted(found, key=lambda one: one.step, reverse=True)

        def took_losses(answer: Any) -> None:
            if self.training is not None and self.training.id == name:
                self.losses = read_models(LossPoint, answer, "points")

        safe = quote(name, safe="")
        self._load("checkpoints", f"/api/voice/checkpoints?job_id={safe}", took)
        self._load("losses", f"/api/voice/jobs/{safe}/losses", took_losses)

    def _load(
        self,
        topic: Topic,
        path: str,
        took: Then,
        failed: Callable[[Failure], bool] | None = None,
    ) -> None:
        """GET, at most one of a path at a time: what is asked meanwhile is asked once more after it."""
        if path in self._loading:
            self._again.add(path)
            return
        self._loading.add(path)

        def over() -> None:
            self._loading.discard(path)
            if path in self._again:
                self._again.discard(path)
                self._load(topic, path, took, failed)

        def good(answer: Any) -> None:
            self.problems.pop(topic, None)
            took(answer)
            self.tell(topic)
            over()

        def bad(failure: Failure) -> None:
            is_answer = failed is not None and failed(failure)
            if is_answer:
                self.problems.pop(topic, None)
            else:
                self.problems[topic] = failure.message
                logger.info("%s could not be loaded: %s", topic, failure.message)
            self.tell(topic)
            over()

        self.app.backend.get(path, good, bad)

    def _took_speakers(self, answer: Any) -> None:
        self.speakers = read_models(Speaker, answer, "speakers", "items")
        self.is_loaded = True
        if self.speaker is None:
            self.speaker_id = self.speakers[0].id if self.speakers else ""
        self._follow_speaker()

    def _follow_speaker(self) -> None:
        """Load what belongs to another speaker."""
        self.app.state["voice.speaker"] = self.speaker_id
        if self._loaded_for == self.speaker_id and self.speaker_id:
            return
        self._loaded_for = self.speaker_id
        self.uploads, self.report, self.shown_job = [], None, ""
        self.clips.start()
        self.load_uploads()
        self.load_report()
        self.load_checkpoints()
        self.tell("clips", "doctor", "uploads", "jobs")

    def _took_uploads(self, answer: Any) -> None:
        found = read_models(Upload, answer, "uploads", "items")
        self.uploads = [one for one in found if one.speaker in ("", self.speaker_id)]

    def _took_jobs(self, answer: Any) -> None:
        before = self.training.id if self.training else ""
        found = read_models(Job, answer, "jobs", "items")
        self.jobs = found[:MOST_JOBS]
        if (self.training.id if self.training else "") != before:
            self.load_checkpoints()

    def _took_recording(self, answer: Any) -> None:
        for found in read_models(Recording, [answer]):
            self.recording = found

    def _load_stage(self) -> None:
        def took(answer: Any) -> None:
            if isinstance(answer, dict):
                self._character_id = str(answer.get("character_id") or "")
            self._load_character()

        self._load("character", f"/api/conversations/{STAGE}", took)

    def _load_character(self) -> None:
        if not self._character_id:
            return

        def took(answer: Any) -> None:
            for found in read_models(Character, [answer]):
                self.character = found

        path = f"/api/characters/{quote(self._character_id, safe='')}"
        self._load("character", path, took)

    # --- events

    def on_event(self, event: Event) -> None:
        """Follow what happens; the cards hear of it in `flush`."""
        match event:
            case TrainingProgress():
                self._went_on(event)
            case RecordingLevel():
                self.level = event
                self._dirty.add("level")
            case PlaybackPosition() | PlaybackStarted():
                if event.turn_id and event.turn_id == self._sound:
                    at = event.position_s if isinstance(event, PlaybackPosition) else 0.0
                    self.position_s, self._sound_at = at, monotonic()
                    self._dirty.add("playing")
            case PlaybackFinished() if event.turn_id and event.turn_id == self._sound:
                self._silent()
            case ClipsChanged() if event.speaker == self.speaker_id:
                self.clips.reload()
                self.load_uploads()
                self.load_speakers()
                if self.report is not None:
                    self.load_report()  # it knows whether the clips are still those it was about
            case SpeakerChanged():
                self.load_speakers()
            case DoctorReported() if event.speaker == self.speaker_id:
                self.load_report()
            case RecordingChanged():
                self.load_recording()
            case ModelSaved():
                self.load_voices()
            case TrainingCheckpoint() | TrainingSample():
                if self.training is not None and event.job_id == self.training.id:
                    self.load_checkpoints()
            case TrainingStarted() | TrainingState() | TrainingWarning():
                self.load_jobs()
            case TrainingCompleted() | TrainingFailed():
                self.load_jobs()
                self.load_uploads()
                if self.training is not None and event.job_id == self.training.id:
                    self.load_checkpoints()
            case CharacterSwitched() if event.conversation_id == STAGE:
                self._character_id = event.character_id
                self._load_character()
            case CharacterChanged() if event.character_id == self._character_id:
                self._load_character()

    def flush(self) -> None:
        """Tell the cards what the events have changed."""
        dirty, self._dirty = self._dirty, set()
        self.tell(*sorted(dirty))

    def _went_on(self, event: TrainingProgress) -> None:
        for number, job in enumerate(self.jobs):
            if job.id != event.job_id:
                continue
            changes: dict[str, Any] = {
                name: getattr(event, name)
                for name in ("progress", "step", "steps", "loss", "losses", "steps_per_s",
                             "eta_s", "memory_mb", "verdict")
            }  # fmt: skip
            changes["state"] = event.state
            if event.note:
                changes["message"] = event.note
            try:
                self.jobs[number] = Job.model_validate({**job.model_dump(), **changes})
            except ValueError:
                logger.warning("progress of job %s could not be read", job.id)
                return
            self._dirty.add("progress")
            return
        self.load_jobs()  # one that is not known here yet

    # --- choosing

    def choose_speaker(self, speaker_id: str) -> None:
        """Look at another speaker's clips."""
        if speaker_id != self.speaker_id:
            self.speaker_id = speaker_id
            self._follow_speaker()
            self.tell("speakers", "checkpoints", "losses")

    def show_job(self, job_id: str) -> None:
        """Look at another training; empty = the newest."""
        if job_id != self.shown_job:
            self.shown_job = job_id
            self.checkpoints, self.losses = [], []
            self.load_checkpoints()
            self.tell("jobs", "checkpoints", "losses")

    def look_at(self, focus: Focus) -> None:
        """Look at another step."""
        self.focus = focus
        self.tell("page")

    # --- asking

    def ask(
        self,
        method: Literal["POST", "PATCH", "DELETE"],
        path: str,
        body: Any = None,
        done: Then | None = None,
        failed: Failed | None = None,
        *,
        timeout_s: float = 30.0,
    ) -> None:
        """Ask for a change; a failure is told in the window unless ``failed`` takes it."""
        backend = self.app.backend
        send = {"POST": backend.post, "PATCH": backend.patch, "DELETE": backend.delete}[method]
        send(path, {} if body is None and method != "DELETE" else body, done, failed or self.fail,
             timeout_s=timeout_s)  # fmt: skip

    def fail(self, failure: Failure) -> None:
        """Show why something did not work."""
        self.app.notify(failure.message, "error" if failure.status >= 500 else "warn")

    def job_asks(
        self, job_id: str, what: Literal["pause", "resume", "stop", "sample", "checkpoint"]
    ) -> None:
        """Pause, resume or stop a job, or have it speak or save now."""

        def done(answer: Any) -> None:
            for job in read_models(Job, [answer]):
                self.jobs = [job if known.id == job.id else known for known in self.jobs]
            self.tell("jobs")

        self.ask("POST", f"/api/voice/jobs/{quote(job_id, safe='')}/{what}", {}, done)

    def examine(self) -> None:
        """Let the doctor look at the clips."""
        self.ask(
            "POST", "/api/voice/doctor", {"speaker": self.speaker_id}, lambda _: self.load_jobs()
        )

    # --- hearing

    def play(self, key: str, path: str, body: Any = None, failed: Failed | None = None) -> None:
        """Play something on the stage's output.

        Args:
            key: What it is, for `playing`.
            path: A route that plays and answers {"url": "/api/audio/<id>/<n>", "duration_s"}.
            body: What to send.
            failed: Told why it cannot be heard, instead of the window's notices.
        """
        tell_failure = failed or self.fail
        self.playing, self._sound = key, ""
        self.position_s = self.duration_s = 0.0
        self._stop_tick()

        def done(answer: Any) -> None:
            if self.playing != key or not isinstance(answer, dict):
                return
            url = str(answer.get("url") or "")
            name = url.removeprefix("/api/audio/").partition("/")[0]
            self._sound = name or url.rpartition("/")[2]  # samples are named by their file
            self.duration_s = float(answer.get("duration_s") or 0.0)
            self._sound_at = monotonic()
            self._went_by()
            self.tell("playing")

        def not_heard(failure: Failure) -> None:
            if self.playing == key:
                self._silent()
                self.tell("playing")
            tell_failure(failure)

        self.ask("POST", path, body, done, not_heard, timeout_s=PLAY_TIMEOUT_S)
        self.tell("playing")

    def stop(self) -> None:
        """Stop what is heard."""
        if self.playing:
            self._silent()
            self.tell("playing")
            self.ask("POST", "/api/audio/stop", {}, None, lambda _: None)

    def play_clip(self, clip_id: int, *, before: bool = False) -> None:
        """Play a clip, or stop it where it plays; ``before`` = as it was before it was changed."""
        key = f"before:{clip_id}" if before else f"clip:{clip_id}"
        if self.playing == key:
            self.stop()
            return
        self.play(key, f"/api/voice/clips/{clip_id}/play", {"before": before})

    def heard_sample(self) -> None:
        """Somebody has listened to the looked-at training: the wizard goes on."""
        job = self.training
        if job is not None and not self.listened:
            heard = self.app.state.get("voice.heard")
            kept = heard[-50:] if isinstance(heard, list) else []
            self.app.state["voice.heard"] = [*kept, job.id]
            self.tell("checkpoints")

    def _went_by(self) -> None:
        """Move the playhead between two events; end by itself for an output that never tells."""
        self._tick = None
        if not self._sound:
            return
        now = monotonic()
        self.position_s += now - self._sound_at
        self._sound_at = now
        if self.position_s > self.duration_s + 1.5:
            self._silent()
        else:
            self._tick = self.master.after(50, self._went_by)
        self.tell("playing")

    def _silent(self) -> None:
        self.playing = self._sound = ""
        self.position_s = 0.0
        self._stop_tick()
        self._dirty.add("playing")

    def _stop_tick(self) -> None:
        if self._tick is not None:
            self.master.after_cancel(self._tick)
            self._tick = None

    # --- work that would hold up the window

    def work(self, job: Callable[[], T], then: Callable[[T], None]) -> None:
        """Compute something on a thread of its own and hand the result to ``then`` on this one.

        One job at a time, in order. One that raises is logged and has no result.
        """

        def run() -> None:
            try:
                result = job()
            except Exception:
                logger.exception("work for the training page failed")
            else:
                self.app.backend.call_later(then, result)

        self._worker.submit(run)

    def close(self) -> None:
        """The page is going away."""
        self.clips.close()
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._stop_tick()
        self._watchers.clear()
