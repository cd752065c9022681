"""The training: form, progress with its figures, the curve, spectrograms of target and result, log, and earlier jobs."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from PIL import Image, ImageTk

from backend.contracts.training import Job, JobState
from frontend.client import Failure
from frontend.theme import ThemeName
from frontend.widgets.panel import Panel
from frontend.widgets.row_list import RowList
from frontend.widgets.training.curve import CurveView
from frontend.widgets.training.spectrogram import coloured
from frontend.widgets.training.state import ENDED, Cockpit, is_running
from frontend.widgets.training.train_form import TrainForm, quick_or_full

HEAD = 42
LEAST_PLOT = 60.0
View = Literal["job", "form", "history"]
Shown = Literal["curve", "sound", "log"]

STATES: dict[JobState, str] = {
    "queued": "waits for its turn",
    "preflight": "checking everything first",
    "prepare": "reading the clips",
    "align": "finding the sounds in the clips",
    "train": "training",
    "export": "making the voice",
    "verify": "listening whether it speaks",
    "process": "making clips",
    "examine": "examining",
    "transcribe": "writing down what is said",
    "paused": "paused",
    "done": "done",
    "failed": "failed",
    "cancelled": "stopped",
    "interrupted": "interrupted",
}
TONES: dict[JobState, tuple[str, str, str]] = {
    "done": ("check", "ok", "ok_soft"),
    "failed": ("hand", "error", "error_soft"),
    "interrupted": ("warn", "warn", "warn_soft"),
    "cancelled": ("stop", "text2", "raised"),
    "paused": ("pause", "warn", "warn_soft"),
}


def time_in_words(seconds: float) -> str:
    """A time left or gone: "40 s", "2:40", "3:05:00"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    if hours:
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{rest // 60}:{rest % 60:02d}"


def memory_in_words(megabytes: float) -> str:
    """Memory: "840 MB", "1.1 GB"."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def figures(job: Job) -> list[tuple[str, str]]:
    """Up to five figures with their captions; only what is known."""
    found: list[tuple[str, str]] = []
    if job.step or job.steps:
        found.append((f"{job.step:,}", f"of {job.steps:,} steps" if job.steps else "steps"))
    if is_running(job) and job.eta_s is not None:
        found.append((time_in_words(job.eta_s), "left"))
    elif job.elapsed_s:
        found.append((time_in_words(job.elapsed_s), "taken"))
    if job.steps_per_s:
        found.append((f"{job.steps_per_s:.1f}", "steps/s"))
    loss = job.losses.get("validation", job.loss)
    if loss is not None:
        found.append((f"{loss:.3f}", "validation loss" if "validation" in job.losses else "loss"))
    if job.memory_mb and is_running(job):
        found.append((memory_in_words(job.memory_mb), "memory"))
    return found


class TrainCard(Panel):
    """The card.

    Args:
        master: The widget it lies in.
        cockpit: What is known.
    """

    def __init__(self, master: tk.Misc, cockpit: Cockpit) -> None:
        super().__init__(master, cockpit.app.theme)
        self.cockpit = cockpit
        self._is_form = False
        self._is_history = False
        self._shown: Shown = "curve"
        self._lines: list[str] = []
        self._log_of = ""
        self.form = TrainForm(self, cockpit, started=self._started, close=self.show_job)
        self.curve = CurveView(self, cockpit)
        self.sound = SoundView(self, cockpit)
        self.history = JobRows(self, cockpit, open_job=self._open_job)
        cockpit.watch(("jobs", "progress", "speakers", "losses"), self._told)

    # --- what is shown

    @property
    def view(self) -> View:
        """Form, training or earlier jobs."""
        if self._is_history:
            return "history"
        return "form" if self._is_form or self.cockpit.training is None else "job"

    def show_form(self) -> None:
        """Ask for a new training."""
        self._is_form, self._is_history = True, False
        self.form.follow()
        self.changed()

    def show_job(self) -> None:
        """Show the training that is looked at."""
        self._is_form = self._is_history = False
        self.changed()

    def show_history(self) -> None:
        """Show all jobs of this speaker."""
        self._is_history = not self._is_history
        self.history.changed()
        self.changed()

    def _open_job(self, job: Job) -> None:
        self._is_history = self._is_form = False
        if job.kind == "train":
            self.cockpit.show_job(job.id)
        self._show("log" if job.kind != "train" else self._shown, job.id)

    def _started(self, job_id: str) -> None:
        self.show_job()
        self._shown = "curve"
        self.cockpit.show_job(job_id)

    def _show(self, what: Shown, job_id: str = "") -> None:
        self._shown = what
        job = self.cockpit.training
        if what == "log":
            self._log_of = job_id or (job.id if job else "")
            self._load_log()
        self.changed()

    def _told(self, topic: str) -> None:
        if topic == "jobs" and self._shown == "log" and self.view == "job":
            self._load_log()
        self.changed()

    def _load_log(self) -> None:
        name = self._log_of
        if not name:
            return

        def took(answer: Any) -> None:
            lines = answer.get("lines") if isinstance(answer, dict) else None
            if name == self._log_of:
                self._lines = [str(line) for line in lines] if isinstance(lines, list) else []
                self.changed()

        def failed(failure: Failure) -> None:
            self._lines = [failure.message]
            self.changed()

        path = f"/api/voice/jobs/{quote(name, safe='')}/log?tail=100"
        self.cockpit.app.backend.get(path, took, failed)

    # --- drawing

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width, height = p.width, p.height
        p.card(0, 0, width, height)
        parts: dict[str, tk.Widget] = {
            "form": self.form, "curve": self.curve, "sound": self.sound, "history": self.history,
        }  # fmt: skip
        view = self.view
        body: str = view
        top = float(HEAD)
        if view == "job" and (job := self.cockpit.training) is not None:
            top = self._paint_job(job, width, height)
            body = self._shown
        else:
            self._paint_head("Train a voice" if view == "form" else "Jobs", width)
        low = height - (40.0 if view == "job" else 8.0)
        for name, widget in parts.items():
            if name == body and low - top >= LEAST_PLOT:
                widget.place(
                    x=t.px(8), y=t.px(top), width=max(1, t.px(width - 16)), height=max(1, t.px(low - top))
                )  # fmt: skip
            else:
                widget.place_forget()
        if body == "log":
            self._paint_log(top, low, width)

    def _paint_head(self, title: str, width: float) -> float:
        """Title and the buttons that are always there; returns where the free room ends."""
        p, cockpit = self.painter, self.cockpit
        right = width - 14
        if any(job.speaker == cockpit.speaker_id for job in cockpit.jobs):
            right -= self.button(
                "history", right, 8, "", self.show_history, icon="clock", height=26, anchor="e",
                tip="Earlier jobs", on=self._is_history,
            ) + 6  # fmt: skip
        p.text(16, 21, title, "bodyb")
        return right

    def _paint_job(self, job: Job, width: float, height: float) -> float:
        p, cockpit = self.painter, self.cockpit
        rate = "full training" if job.trainer == "vits" else quick_or_full(job)
        right = self._paint_head("Training", width)
        ask = cockpit.job_asks
        if is_running(job) or job.state == "paused":
            right -= self.button(
                "stop", right, 8, "Stop", partial(ask, job.id, "stop"), icon="stop", height=26, anchor="e",
                tip="Save and end; it can be resumed",
            ) + 6  # fmt: skip
            if job.state == "paused":
                right -= self.button("resume", right, 8, "Resume", partial(ask, job.id, "resume"), icon="play",
                                     kind="soft", height=26, anchor="e")  # fmt: skip
            elif job.state == "train":
                right -= self.button("pause", right, 8, "Pause", partial(ask, job.id, "pause"), icon="pause",
                                     height=26, anchor="e")  # fmt: skip
        else:
            if not cockpit.running("train"):
                right -= self.button("new", right, 8, "New training", self.show_form, icon="plus", height=26,
                                     anchor="e") + 6  # fmt: skip
            if job.code == "base.confirm":
                right -= self.button(
                    "trust", right, 8, "Trust this file", partial(self.form.trust, job), icon="shield", kind="soft",
                    height=26, anchor="e", tip="Convert exactly this file, in a process without network, keys or your files",
                )  # fmt: skip
            elif job.can_resume:
                right -= self.button("resume", right, 8, "Resume", partial(ask, job.id, "resume"), icon="play",
                                     kind="soft", height=26, anchor="e")  # fmt: skip
        start = 26 + p.text_width("Training", "bodyb")
        sub = f"{job.name}  \u00b7  {rate}"
        p.text(start, 21.5, sub, "small", "text3", clip=max(10.0, right - start - 10))
        share = 1.0 if job.state == "done" else job.progress
        if is_running(job):
            self.working(16, HEAD + 2, width - 32, share)
        else:
            color = "ok" if job.state == "done" else "accent"
            self.progress(16, HEAD + 2, width - 32, share, color)
        y = HEAD + 18.0
        found = figures(job)
        if found and job.state in ("train", "paused", *ENDED):
            slot = (width - 32) / 5
            for number, (value, caption) in enumerate(found[:5]):
                p.text(16 + number * slot, y + 6, value, "title", clip=slot - 6)
                p.text(16 + number * slot, y + 24, caption, "cap", "text3", clip=slot - 6)
            y += 40
        if job.state not in ("train", "done"):
            y = self._paint_state(job, y, width)
        if height > 250:
            y = self._paint_tabs(job, y, width)
        self._paint_foot(job, width, height)
        return y

    def _paint_state(self, job: Job, y: float, width: float) -> float:
        """In words what it does, or why it ended and what to do."""
        p = self.painter
        icon, tone, _ = TONES.get(job.state, ("clock", "accent", "accent_soft"))
        p.icon(24, y + 8, icon, 14, tone)
        doing = STATES.get(job.state, job.state).capitalize()
        words = job.message or doing
        if job.message and is_running(job) and job.state not in ("train", "queued"):
            words = f"{doing}: {job.message}"  # "clip 8 of 12" alone does not say what for
        item = p.text(40, y + 1, words[:400], "small", "text2" if tone != "error" else "error", "nw",
                      width=width - 56)  # fmt: skip
        box = self.bbox(item)
        return (box[3] / self.theme.scale if box else y + 18) + 6

    def _paint_tabs(self, job: Job, y: float, width: float) -> float:
        """Curve, sound or log below the figures."""
        x = 16.0
        titles: tuple[tuple[Shown, str], ...] = (
            ("curve", "Curve"),
            ("sound", "Spectrogram"),
            ("log", "Log"),
        )
        for name, title in titles:
            on = self._shown == name
            x += self.button(
                f"view:{name}", x, y, title, partial(self._show, name), kind="soft" if on else "plain", height=22
            ) + 4  # fmt: skip
        if job.state == "train":
            self.button(
                "sample", width - 14, y, "Speak now", partial(self.cockpit.job_asks, job.id, "sample"), icon="voice",
                height=22, anchor="e", tip="Hear the test sentence as it is now",
            )  # fmt: skip
        return y + 28

    def _paint_foot(self, job: Job, width: float, height: float) -> None:
        p = self.painter
        middle = height - 20
        words = job.verdict if is_running(job) or job.state == "paused" else ""
        icon, tone, soft = "check", "ok", "ok_soft"
        if "flat" in words or "stop" in words.lower():
            icon, tone, soft = "info", "warn", "warn_soft"
        if job.state == "done":
            words, icon, tone, soft = (
                job.message or "Finished and verified.",
                "check",
                "ok",
                "ok_soft",
            )
        elif job.warnings and not words:
            words, icon, tone, soft = job.warnings[-1], "warn", "warn", "warn_soft"
        if not words:
            return
        room = width - 28
        if p.text_width(words, "cap") + 32 <= room:
            p.chip(14, middle, words, tone, soft, icon=icon, height=24)
            return
        p.icon(24, middle, icon, 13, tone)
        p.text(38, middle, words, "cap", tone, clip=room - 24)
        self.zone("verdict", 14, middle - 12, room, 24, None, tip=words)

    def _paint_log(self, top: float, low: float, width: float) -> None:
        p = self.painter
        room = int((low - top) // 15)
        lines = self._lines[-room:] if room > 0 else []
        if not lines:
            p.text(width / 2, (top + low) / 2, "The log is empty.", "cap", "text3", "center")
        for number, line in enumerate(lines):
            p.text(16, top + 8 + number * 15, line, "monos", "text2", clip=width - 32)


class SoundView(Panel):
    """Spectrograms of a held-back clip and of the same words as the training speaks them now, one above the other.

    Args:
        master: The card.
        cockpit: What is known.
    """

    def __init__(self, master: tk.Misc, cockpit: Cockpit) -> None:
        super().__init__(master, cockpit.app.theme, "surface")
        self.configure(takefocus=0)
        self.cockpit = cockpit
        self._bytes: dict[str, bytes] = {}
        self._pictures: dict[str, tuple[tuple[int, int, ThemeName], ImageTk.PhotoImage]] = {}
        self._job = ""
        self._working: set[str] = set()
        cockpit.watch(("checkpoints", "jobs"), lambda _: self.load())
        self.bind("<Map>", lambda _: self.load(), add="+")

    def load(self) -> None:
        """Ask for the newest pictures, when they can be seen."""
        job = self.cockpit.training
        if job is None or not self.winfo_ismapped():
            return
        if job.id != self._job:
            self._job, self._bytes, self._pictures = job.id, {}, {}
        for which, url in (("target", job.target_picture_url), ("made", job.made_picture_url)):
            if url:
                self.cockpit.app.backend.download(
                    url, partial(self._took, job.id, which), lambda _: None
                )
        self.changed()

    def _took(self, job_id: str, which: str, data: bytes) -> None:
        if job_id == self._job and data != self._bytes.get(which):
            self._bytes[which] = data
            self._pictures.pop(which, None)
            self.changed()

    def paint(self) -> None:
        p, t = self.painter, self.theme
        if not self._bytes:
            words = "Target and result are drawn beside each other at the first checkpoint."
            p.text(p.width / 2, p.height / 2, words, "cap", "text3", "center", width=p.width - 32)
            return
        high = (p.height - 6) / 2
        for number, (which, title) in enumerate((("target", "Recording"), ("made", "Training"))):
            y = number * (high + 6)
            size = (max(1, t.px(p.width - 16)), max(1, t.px(high)), t.name)
            kept = self._pictures.get(which)
            if kept is not None:
                p.image(8, y, kept[1])
            if which in self._bytes and (kept is None or kept[0] != size):
                self._colour(which, size)
            wide = p.text_width(title, "cap") + 12
            p.box(12, y + 4, wide, 18, "surface", None, 4)
            p.text(18, y + 13, title, "cap", "text2")

    def _colour(self, which: str, size: tuple[int, int, ThemeName]) -> None:
        if which in self._working:
            return
        self._working.add(which)
        self.cockpit.work(
            partial(coloured, self._bytes[which], *size), partial(self._coloured, which, size)
        )

    def _coloured(self, which: str, size: tuple[int, int, ThemeName], image: Image.Image) -> None:
        self._working.discard(which)
        if self.winfo_exists():
            self._pictures[which] = (size, ImageTk.PhotoImage(image, master=self))
            self.changed()


class JobRows(RowList):
    """Earlier and present jobs of the speaker.

    Args:
        master: The card.
        cockpit: What is known.
        open_job: Look at one.
    """

    row_height = 46.0

    def __init__(
        self, master: tk.Misc, cockpit: Cockpit, open_job: Callable[[Job], object]
    ) -> None:
        super().__init__(master, cockpit.app.theme)
        self.cockpit = cockpit
        self._open = open_job
        cockpit.watch(("jobs", "progress"), lambda _: self.changed())

    @property
    def jobs(self) -> list[Job]:
        """What is listed."""
        who = self.cockpit.speaker_id
        return [job for job in self.cockpit.jobs if job.speaker == who]

    def count(self) -> int:
        return len(self.jobs)

    def paint_row(self, number: int, y: float, width: float) -> None:
        p, job = self.painter, self.jobs[number]
        icon, tone, _ = TONES.get(job.state, ("clock", "accent", "accent_soft"))
        p.icon(20, y + 23, icon, 14, tone)
        kind = {"train": quick_or_full(job), "process": "making clips", "doctor": "doctor"}[
            job.kind
        ]
        title = job.name or kind.capitalize()
        at = (job.ended_at or job.started_at or job.created_at).astimezone()
        right = width - 12
        p.text(right, y + 14, f"{at:%d %b %H:%M}", "cap", "text3", "e")
        p.text(40, y + 14, title, "smallb", clip=width - 150)
        words = [kind] if job.name else []
        is_queued = job.state == "queued" and job.message
        words += [job.message if is_queued else STATES.get(job.state, job.state)]
        if job.step:
            words.append(f"{job.step:,} steps")
        if job.state in ("failed", "interrupted") and job.message:
            words.append(job.message)
        if job.state in ENDED:
            right -= self.button(
                f"delete:{job.id}", right, y + 21, "", partial(self._delete, job), icon="trash", height=22, kind="plain",
                anchor="e", tip="Delete this job, its checkpoints and samples; its voice stays",
            ) + 6  # fmt: skip
        p.text(40, y + 32, "  \u00b7  ".join(words), "cap", "text3", clip=right - 48)
        p.line(8, y + 45, width - 4, y + 45)

    def tip_of(self, number: int) -> str:
        return self.jobs[number].message

    def act(self, number: int, key: str) -> None:
        job = self.jobs[number]
        if key == "<Delete>" and job.state in ENDED:
            self._delete(job)
        elif key != "<Delete>":
            self._open(job)

    def chosen(self, number: int) -> None:
        """A press opens it as Enter does."""
        self._open(self.jobs[number])

    def walk(self, by: int) -> str:
        """The arrow keys only move: Enter opens."""
        self.is_quiet = False
        if self.count():
            self.current = max(0, min(self.count() - 1, self.current + by))
            self.reveal(self.current)
        return "break"

    def _delete(self, job: Job) -> None:
        cockpit = self.cockpit
        path = f"/api/voice/jobs/{quote(job.id, safe='')}"
        cockpit.ask("DELETE", path, None, lambda _: cockpit.load_jobs())
