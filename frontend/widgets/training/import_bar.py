"""Files on their way to clips: sent one by one, refused ones with the reason, options, and the processing itself.

The card is there only while something waits, runs or was refused. A file is sent in pieces and can be stopped; one that is
refused never stops the others.
"""

from __future__ import annotations

import os
import threading
import tkinter as tk
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from backend.contracts.training import Job, Upload
from frontend.client import Failure
from frontend.stage import read_models
from frontend.widgets.controls import RING, Button, Dropdown, Switch
from frontend.widgets.field import Field
from frontend.widgets.panel import Panel
from frontend.widgets.popup import Choice
from frontend.widgets.row_list import RowList
from frontend.widgets.training.speaker_bar import LANGUAGES
from frontend.widgets.training.state import Cockpit

SOUNDS = frozenset(
    {
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".m4a",
        ".mp4",
        ".aac",
        ".webm",
        ".mkv",
        ".mov",
    }
)
LISTS = frozenset({".csv", ".tsv", ".txt", ".srt"})
HEAD = 46.0
OPTIONS = 40.0
ROW = 28.0
MOST_ROWS = 5
ONE_LINE = 860  # from here on the options stand in the head
MOST_FILES = 5_000
UPLOAD_TIMEOUT_S = 3600.0
DISMISS = "Dismiss all refused"


@dataclass(slots=True)
class Sending:
    """A file that is being sent, or waits to be."""

    path: Path
    size: int
    speaker: str
    sent: int = 0
    is_running: bool = False
    problem: str = ""
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in what was dropped.

    Attributes:
        files: Sounds and lists of transcripts with their sizes.
        odd: Files that were named themselves and cannot be sent, and why.
        left: How many were left out because there are too many.
    """

    files: tuple[tuple[Path, int], ...]
    odd: tuple[tuple[str, str], ...] = ()
    left: int = 0


def look_through(paths: Iterable[Path]) -> Found:
    """Files to send out of files and folders; in a folder what is no recording is left out silently. Reads the disk."""
    files: list[tuple[Path, int]] = []
    odd: list[tuple[str, str]] = []
    left = 0
    for path in paths:
        try:
            named = path.is_dir()
            inside = _walk(path) if named else iter((path,))
            for one in inside:
                if one.suffix.casefold() not in SOUNDS | LISTS:
                    if not named:
                        odd.append((one.name, "is neither a recording nor a list of transcripts"))
                elif len(files) >= MOST_FILES:
                    left += 1
                else:
                    files.append((one, one.stat().st_size))
        except OSError:
            odd.append((path.name, "cannot be read"))
    return Found(tuple(files), tuple(odd), left)


def _walk(folder: Path) -> Iterable[Path]:
    for at, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(at) / name


def megabytes(count: int) -> str:
    """A size in words."""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.0f} kB"


class ImportBar(Panel):
    """The card.

    Args:
        master: The widget it lies in.
        cockpit: What is known.
        resized: Called when it wants another height.
    """

    def __init__(self, master: tk.Misc, cockpit: Cockpit, resized: Callable[[], object]) -> None:
        t = cockpit.app.theme
        super().__init__(master, t)
        self.cockpit = cockpit
        self._resized = resized
        self.sending: list[Sending] = []
        self.gone_wrong: list[tuple[str, str]] = []
        """Names and reasons of files that never reached the backend."""
        self.dismissed: set[str] = set()
        """Failed processings that were put away."""
        self._queue: deque[Sending] = deque()
        self._asked_to_process = False
        self._last_rows = -1.0
        self.denoise = Switch(
            self, t, "Denoise", tip="Take steady noise out of every clip; the originals are kept"
        )
        self.language = Dropdown(
            self, t, [Choice("", "Speaker's language"), *(Choice(code, name) for code, name in LANGUAGES.items())],
            width=172, height=26, surface="surface", label="Language of these files",
        )  # fmt: skip
        self.emotion = Field(
            self, t, placeholder="Emotion, if it is one", width=150, height=28, surface="surface",
            label="Emotion of these files",
        )  # fmt: skip
        self.going = Button(
            self, t, "Make clips", self.process, icon="bolt", kind="soft", surface="surface"
        )
        self.rows = _FileRows(self)
        cockpit.watch(("uploads", "jobs", "progress", "speakers"), lambda _: self.follow())

    # --- what there is

    @property
    def waiting(self) -> list[Upload]:
        """Files that are here and not made into clips yet."""
        return [one for one in self.cockpit.uploads if not one.problem and not one.processed]

    @property
    def refused(self) -> list[Upload]:
        """Files that cannot be used."""
        return [one for one in self.cockpit.uploads if one.problem]

    @property
    def failed(self) -> Job | None:
        """The newest processing, if it went wrong and was not put away."""
        jobs = self.cockpit.jobs_of("process")
        if jobs and jobs[0].state in ("failed", "interrupted") and jobs[0].id not in self.dismissed:
            return jobs[0]
        return None

    def items(self) -> list[Sending | Upload | Job | tuple[str, str]]:
        """The rows: what went wrong first, then what is on its way, then what waits."""
        found: list[Sending | Upload | Job | tuple[str, str]] = []
        if self.failed is not None:
            found.append(self.failed)
        found += self.gone_wrong
        found += self.refused
        found += self.sending
        if self.cockpit.running("process") is None:
            found += self.waiting
        return found

    @property
    def is_busy(self) -> bool:
        """Whether something is on the way, waits to be cut, or is being cut."""
        return bool(self.sending or self.waiting or self.cockpit.running("process"))

    def wanted_height(self, width: float = 0) -> float:
        """Design pixels it wants at a width; 0 = nothing is to be shown."""
        rows = len(self.items())
        if not rows and self.cockpit.running("process") is None:
            return 0.0
        width = width or self.winfo_width() / self.theme.scale
        options = 0.0 if width >= ONE_LINE else OPTIONS
        return (
            HEAD
            + (options if self._has_options() else 0.0)
            + min(rows, MOST_ROWS) * ROW
            + (8 if rows else 0)
        )

    def follow(self) -> None:
        """Show what has changed."""
        high = self.wanted_height()
        if high != self._last_rows:
            self._last_rows = high
            self._resized()
        self.changed()
        self.rows.changed()

    # --- sending

    def bring_in(self, paths: Iterable[Path]) -> None:
        """Send files and everything in folders, for the current speaker."""
        wanted = list(paths)
        who = self.cockpit.speaker_id

        def ready(found: Found) -> None:
            if not self.winfo_exists():
                return
            self.gone_wrong += found.odd
            if found.left:
                words = f"were left out: {MOST_FILES:,} at once is the most"
                self.gone_wrong.append((f"{found.left:,} more files", words))
            if not found.files and not found.odd:
                names = ", ".join(path.name for path in wanted)[:120]
                self.gone_wrong.append((names, "holds no recording"))
            for path, size in found.files:
                one = Sending(path, size, who)
                self.sending.append(one)
                self._queue.append(one)
            self._next()
            self.follow()

        self.cockpit.work(lambda: look_through(wanted), ready)

    def _next(self) -> None:
        """Send the next file; one at a time, so that each has its own progress and its own end."""
        if any(one.is_running for one in self.sending) or not self._queue:
            return
        one = self._queue.popleft()
        if one.stop.is_set():
            self._next()
            return
        one.is_running = True
        fields = {
            "speaker": one.speaker,
            "language": self.language.value,
            "emotion": self.emotion.text.strip(),
        }

        def sent(count: int) -> None:
            one.sent = count
            self.rows.changed()

        def over() -> None:
            one.is_running = False
            if one in self.sending:
                self.sending.remove(one)
            self._next()
            self.follow()

        def done(answer: Any) -> None:
            found = read_models(Upload, answer, "uploads")
            # What is refused at once is not kept by the backend: it is remembered here until it is put away.
            self.gone_wrong += [
                (upload.filename, upload.problem) for upload in found if upload.problem
            ]
            self.gone_wrong += [
                (upload.filename, "is here already") for upload in found if upload.is_duplicate
            ]
            fresh = [upload for upload in found if not upload.problem]
            ids = {upload.id for upload in fresh}
            if one.speaker == self.cockpit.speaker_id:
                self.cockpit.uploads = [
                    *fresh,
                    *(u for u in self.cockpit.uploads if u.id not in ids),
                ]
                self.cockpit.tell("uploads")
            over()

        def failed(failure: Failure) -> None:
            if failure.code != "cancelled":
                self.gone_wrong.append((one.path.name, failure.message))
            over()

        self.cockpit.app.backend.upload(
            "/api/voice/upload", [("files", one.path)], {name: value for name, value in fields.items() if value},
            done, failed, timeout_s=UPLOAD_TIMEOUT_S, sent=sent, cancelled=one.stop,
        )  # fmt: skip

    # --- what can be done

    def process(self) -> None:
        """Make clips of everything that waits."""
        ids = [one.id for one in self.waiting]
        if not ids or self._asked_to_process:
            return
        self._asked_to_process = True
        body: dict[str, Any] = {
            "upload_ids": ids, "speaker": self.cockpit.speaker_id, "denoise": self.denoise.on,
        }  # fmt: skip
        if self.language.value:
            body["language"] = self.language.value
        if self.emotion.text.strip():
            body["emotion"] = self.emotion.text.strip()

        def done(_: Any) -> None:
            self._asked_to_process = False
            self.cockpit.load_jobs()

        def failed(failure: Failure) -> None:
            self._asked_to_process = False
            self.cockpit.fail(failure)

        self.cockpit.ask("POST", "/api/voice/process", body, done, failed)

    def drop(self, item: Sending | Upload | Job | tuple[str, str]) -> None:
        """Stop a file that is sent, remove one that is here, put a message away."""
        if isinstance(item, Sending):
            item.stop.set()
            if not item.is_running:
                self.sending.remove(item)
        elif isinstance(item, Upload):
            self.cockpit.uploads = [one for one in self.cockpit.uploads if one.id != item.id]
            path = f"/api/voice/uploads/{quote(item.id, safe='')}"
            self.cockpit.ask("DELETE", path, None, lambda _: self.cockpit.load_uploads())
            self.cockpit.tell("uploads")
        elif isinstance(item, Job):
            self.dismissed.add(item.id)
        else:
            self.gone_wrong.remove(item)
        self.follow()

    def dismiss(self) -> None:
        """Put away everything that was refused or went wrong."""
        self.gone_wrong = []
        for item in (*self.refused, self.failed):
            if item is not None:
                self.drop(item)
        self.follow()

    # --- drawing

    def _has_options(self) -> bool:
        return self.cockpit.running("process") is None and bool(self.waiting or self.sending)

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width = p.width
        p.card(0, 0, width, p.height)
        job = self.cockpit.running("process")
        middle = HEAD / 2
        p.text(16, middle, "Recordings", "bodyb")
        start = 26 + p.text_width("Recordings", "bodyb")
        top = HEAD
        if job is not None:
            self._show_options(False)
            self._paint_job(job, start, width)
        else:
            self._show_options(self._has_options())
            right = width - 14
            if self._has_options():
                wide = self.going.winfo_reqwidth() / t.scale - 2 * RING
                self.going.enable(bool(self.waiting))
                right -= wide
                self.going.place(x=t.px(right - RING), y=t.px(middle - 14 - RING))
                right -= 12
                if width >= ONE_LINE:
                    right = self._place_options(right, middle)
                else:
                    self._place_options(width - 14, HEAD + OPTIONS / 2 - 6)
                    top += OPTIONS
            words = self._sum()
            if len(self.gone_wrong) + len(self.refused) + (self.failed is not None) > 1:
                end = start + p.text_width(words, "small") + 14
                wide = p.text_width(DISMISS, "smallb")
                at = max(start, min(end, right - 8 - wide))
                self.link("dismiss", at, middle + 0.5, DISMISS, self.dismiss)
                right = at
            p.text(start, middle + 0.5, words, "small", "text3", clip=max(10.0, right - start - 8))
        rows = len(self.items())
        if rows:
            p.line(0, top - 1, width, top - 1)
            self.rows.place(
                x=t.px(1), y=t.px(top), width=max(1, t.px(width) - 2), height=max(1, t.px(p.height - 8) - t.px(top))
            )  # fmt: skip
        else:
            self.rows.place_forget()

    def _paint_job(self, job: Job, start: float, width: float) -> None:
        p, middle = self.painter, HEAD / 2
        right = width - 14
        right -= self.button(
            "stop", right, middle - 13, "Stop", partial(self.cockpit.job_asks, job.id, "stop"), icon="stop", height=26,
            anchor="e",
        ) + 14  # fmt: skip
        figure = "" if job.progress is None else f"{job.progress:.0%}".replace("%", " %")
        if job.eta_s:
            minutes, seconds = divmod(round(job.eta_s), 60)
            figure += f"  \u00b7  {minutes}:{seconds:02d} left"
        wide = p.text_width(figure, "cap")
        p.text(right, middle, figure, "cap", "text2", "e")
        right -= wide + 12
        bar = max(60.0, min(220.0, (right - start) * 0.4))
        self.working(right - bar, middle - 3, bar, job.progress)
        words = job.message or {
            "transcribe": "Writing down what is said",
            "queued": "Waiting for its turn",
        }.get(job.state, "Making clips")
        p.text(
            start, middle + 0.5, words, "small", "text2", clip=max(10.0, right - bar - start - 14)
        )

    def _sum(self) -> str:
        parts = []
        lists = sum(one.kind == "transcripts" for one in self.waiting)
        count = len(self.waiting) - lists
        if self.sending:
            parts.append(f"{len(self.sending)} on the way")
        if count:
            parts.append(f"{count} file{'' if count == 1 else 's'} ready to be cut")
        if lists:
            parts.append(f"{lists} list{'' if lists == 1 else 's'} of transcripts")
        wrong = len(self.refused) + len(self.gone_wrong)
        if wrong:
            parts.append(f"{wrong} refused")
        return "  \u00b7  ".join(parts)

    def _place_options(self, right: float, middle: float) -> float:
        """Options from right to left; returns where they begin."""
        t, p = self.theme, self.painter
        left = 14.0
        wide = self.denoise.winfo_reqwidth() / t.scale
        if p.width < ONE_LINE:
            self.denoise.place(x=t.px(left - RING), y=t.px(middle - 11 - RING))
            left += wide + 8
            room = (right - left - 8) / 2
            self.language.resize(min(170.0, room))
            self.language.place(x=t.px(left - RING), y=t.px(middle - 13 - RING))
            left += min(170.0, room) + 8
            self.emotion.place(
                x=t.px(left), y=t.px(middle - 14), width=t.px(min(180.0, room)), height=t.px(28)
            )
            return left
        right -= 150
        self.emotion.place(x=t.px(right), y=t.px(middle - 14), width=t.px(150), height=t.px(28))
        right -= 8 + 172
        self.language.place(x=t.px(right - RING), y=t.px(middle - 13 - RING))
        right -= 10 + wide
        self.denoise.place(x=t.px(right), y=t.px(middle - 11 - RING))
        return right

    def _show_options(self, on: bool) -> None:
        if not on:
            for widget in (self.denoise, self.language, self.emotion, self.going):
                widget.place_forget()


class _FileRows(RowList):
    """One line per file."""

    row_height = ROW

    def __init__(self, card: ImportBar) -> None:
        super().__init__(card, card.theme)
        self.card = card
        self._shown: list[Sending | Upload | Job | tuple[str, str]] = []

    def count(self) -> int:
        return len(self._shown)

    def paint(self) -> None:
        self._shown = self.card.items()
        super().paint()

    def fill_of(self, number: int) -> str | None:
        return None

    def tip_of(self, number: int) -> str:
        item = self._shown[number]
        if isinstance(item, Upload):
            return f"{item.filename[:200]}\n{item.problem}".strip()
        if isinstance(item, Job):
            return item.message
        return " ".join(item) if isinstance(item, tuple) else str(item.path)

    def act(self, number: int, key: Literal["<Return>", "<space>", "<Delete>"] | str) -> None:
        if key == "<Delete>":
            self.card.drop(self._shown[number])

    def paint_row(self, number: int, y: float, width: float) -> None:
        p, item = self.painter, self._shown[number]
        middle = y + self.row_height / 2
        self.button(
            f"drop:{number}", width - 12, middle - 12, "", partial(self.card.drop, item), icon="x", kind="plain",
            width=26, height=24, anchor="e", tip="Stop   Delete" if isinstance(item, Sending) else "Remove   Delete",
        )  # fmt: skip
        right = width - 48
        name, words, sign, tone = "", "", "clip", "text3"
        if isinstance(item, Sending):
            name, sign = item.path.name, "upload"
            if item.is_running and item.size:
                self.progress(right - 140, middle - 3, 140, item.sent / item.size)
                words = f"{megabytes(item.sent)} of {megabytes(item.size)}"
                p.text(right - 152, middle, words, "cap", "text3", "e")
                right -= 160 + p.text_width(words, "cap")
                words = ""
            else:
                words = f"{megabytes(item.size)}, waits"
        elif isinstance(item, Upload):
            name = item.filename
            sign, tone = ("warn", "warn") if item.problem else ("check", "ok")
            words = item.problem or megabytes(item.size_bytes)
            if item.kind == "transcripts" and not item.problem:
                words = "transcripts for the files it names"
        elif isinstance(item, Job):
            name, words, sign, tone = "Making clips", item.message or item.state, "warn", "error"
        else:
            (name, words), sign, tone = item, "warn", "warn"
        p.icon(24, middle, sign, 13, tone, 2)
        room = right - 42
        wide = min(p.text_width(name, "small"), room * (0.45 if words else 1.0))
        p.text(42, middle, name, "small", "text", clip=max(20.0, wide + 2))
        if words:
            color = "text3" if tone in ("ok", "text3") else tone
            p.text(42 + wide + 14, middle, words, "cap", color, clip=max(20.0, room - wide - 20))
