"""The clips of a speaker, page by page: only what is looked at is loaded, however many there are.

A row number means a place in the answer to the current question (filter and order). What has been loaded stays shown
while it is asked for again, so a change does not make the table blink.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from backend.contracts.training import Clip, ClipPage, ClipStatus, Grade
from frontend.client import BackendClient, Failed, Failure, Then
from frontend.stage import read_models

Order = Literal["id", "transcript", "duration", "snr", "loudness", "grade", "match"]
PAGE = 100  # reading that many takes about 2 ms
TEXT_WAIT_MS = 150


@dataclass(frozen=True, slots=True)
class Question:
    """Which clips, in which order."""

    text: str = ""
    status: ClipStatus | Literal[""] = ""
    grade: Grade | Literal["none"] = ""
    order: Order = "id"
    descending: bool = False
    ids: tuple[int, ...] = ()
    """Only these, whatever else is asked; what the doctor points at."""
    why: str = ""
    """In words: why only these."""

    @property
    def is_filtered(self) -> bool:
        """Whether some clips are left out."""
        return bool(self.text or self.status or self.grade or self.ids)


class Window(Protocol):
    """What is needed of the window."""

    @property
    def backend(self) -> BackendClient:
        """REST."""

    def notify(self, text: str, severity: Literal["info", "ok", "warn", "error"] = "info") -> None:
        """Say something for a few seconds."""


class Owner(Protocol):
    """What is needed of the cockpit."""

    speaker_id: str
    master: tk.Misc

    @property
    def app(self) -> Window:
        """The window."""

    def tell(self, *topics: Literal["clips", "selection"]) -> None:
        """A topic has changed."""

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
        """Ask for a change."""


class ClipPages:
    """The table's rows, and which of them are selected; Tk thread only.

    Attributes:
        total: How many clips fit the question.
        accepted: How many of these are accepted.
        minutes: Accepted minutes per grade.
        grades: Clips per grade, whatever their status.
        selected: Ids of the selected clips.
        current: Row number of the current clip.
    """

    def __init__(self, cockpit: Owner) -> None:
        self.cockpit = cockpit
        self.question = Question()
        self.total = 0
        self.accepted = 0
        self.minutes: dict[str, float] = {}
        self.grades: dict[str, int] = {}
        self.can_undo = ""
        self.is_loaded = False
        self.problem = ""
        self.selected: set[int] = set()
        self.current = 0
        self.is_moved = False
        """The current clip may be out of sight: a change has put it elsewhere."""
        self._current_id: int | None = None
        self._anchor = 0
        self._rows: dict[int, Clip] = {}
        self._fresh: set[int] = set()
        self._asked: set[int] = set()
        self._turn = 0
        self._is_stale = False
        """The rows answer an earlier question; they stay until the first answer to this one is there."""
        self._seen = (0, PAGE)
        self._follows = False
        self._range: tuple[int, int] | None = None
        self._text_job: str | None = None

    # --- reading

    def at(self, number: int) -> Clip | None:
        """The clip in a row; None = not loaded yet."""
        return self._rows.get(number)

    @property
    def clip(self) -> Clip | None:
        """The current clip."""
        return self._rows.get(self.current) if self.current < self.total else None

    def chosen(self) -> list[int]:
        """What an action is for: the selected clips, else the current one."""
        if self.selected:
            return sorted(self.selected)
        return [self.clip.id] if self.clip is not None else []

    @property
    def is_empty(self) -> bool:
        """Whether there are no clips at all, as far as is known."""
        return self.is_loaded and not self.total and not self.question.is_filtered

    def need(self, first: int, last: int) -> None:
        """Rows ``first`` to ``last`` are in sight: load what is missing of them."""
        self._seen = (first, last)
        for page in range(max(0, first) // PAGE, max(0, min(last, self.total - 1)) // PAGE + 1):
            self._ask(page)

    # --- asking

    def start(self) -> None:
        """Forget everything and load the first page: another speaker."""
        self._rows.clear()
        self.question = replace(self.question, text="", ids=(), why="", status="", grade="")
        self.total = self.accepted = self.current = self._anchor = 0
        self.minutes, self.grades, self.can_undo = {}, {}, ""
        self.selected.clear()
        self._current_id = None
        self.is_loaded = False
        self.reload()

    def reload(self) -> None:
        """Ask again; what is shown stays until the answer is there."""
        self._turn += 1
        self._fresh.clear()
        self._asked.clear()
        if not self.cockpit.speaker_id:
            self.total, self.is_loaded = 0, True
            self.cockpit.tell("clips")
            return
        first, last = self._seen
        self._ask(0)
        for page in range(first // PAGE, last // PAGE + 1):
            if page * PAGE < self.total:
                self._ask(page)

    def want(self, **changes: Any) -> None:
        """Ask another question: fields of `Question`."""
        wanted = replace(self.question, **changes)
        if wanted == self.question:
            return
        self.question = wanted
        self._seen = (0, PAGE - 1)
        self._is_stale = True
        self.selected.clear()
        self.current = self._anchor = 0
        self._current_id = None
        self.cockpit.tell("selection")
        self.reload()

    def want_text(self, text: str) -> None:
        """Search; asked when nothing was typed for a moment."""
        if self._text_job is not None:
            self.cockpit.master.after_cancel(self._text_job)

        def ask() -> None:
            self._text_job = None
            self.want(text=text, ids=(), why="")

        self._text_job = self.cockpit.master.after(TEXT_WAIT_MS, ask)

    def close(self) -> None:
        """The page is going away."""
        if self._text_job is not None:
            self.cockpit.master.after_cancel(self._text_job)
            self._text_job = None

    def sort(self, order: Order) -> None:
        """Order by a column; again turns it round. Figures begin with the highest."""
        if order == self.question.order:
            self.want(descending=not self.question.descending)
        else:
            self.want(order=order, descending=order in ("duration", "snr", "loudness", "match"))

    def show_only(self, ids: Iterable[int], why: str) -> None:
        """Show these clips and select them."""
        wanted = tuple(ids)
        self.want(text="", status="", grade="", ids=wanted, why=why)
        self.selected = set(wanted)
        self.cockpit.tell("selection", "clips")

    def show_all(self) -> None:
        """Take all filters away."""
        self.want(text="", status="", grade="", ids=(), why="")

    def _ask(self, page: int) -> None:
        if page in self._fresh or page in self._asked:
            return
        self._asked.add(page)
        turn, question, cockpit = self._turn, self.question, self.cockpit
        params: dict[str, str | int | float] = {
            "speaker": cockpit.speaker_id,
            "sort": question.order,
            "descending": "true" if question.descending else "false",
            "offset": page * PAGE,
            "limit": PAGE,
        }
        if question.ids:
            params["ids"] = ",".join(map(str, question.ids[:500]))
        for name, value in (
            ("status", question.status), ("grade", question.grade), ("text", question.text.strip()),
        ):  # fmt: skip
            if value:
                params[name] = value

        def took(answer: Any) -> None:
            if turn == self._turn:
                self._asked.discard(page)
                for found in read_models(ClipPage, [answer]):
                    self._take(page, found)

        def failed(failure: Failure) -> None:
            if turn == self._turn:
                self._asked.discard(page)
                self.is_loaded = True
                self.problem = failure.message
                cockpit.tell("clips")

        cockpit.app.backend.get("/api/voice/clips", took, failed, params=params)

    def _take(self, page: int, found: ClipPage) -> None:
        self.problem = ""
        self.is_loaded = True
        if self._is_stale:
            self._is_stale = False
            self._rows.clear()
        self.total, self.accepted = found.total, found.accepted
        self.minutes, self.can_undo = dict(found.minutes), found.can_undo
        self.grades = dict(found.grades)
        self._fresh.add(page)
        for number in [n for n in self._rows if n >= self.total]:
            del self._rows[number]
        for number, clip in enumerate(found.clips, page * PAGE):
            self._rows[number] = clip
            if clip.id == self._current_id:
                self.is_moved |= self._follows and number != self.current
                self.current = number
                self._follows = False
        self.current = max(0, min(self.current, self.total - 1))
        if self.clip is not None:
            self._current_id = self.clip.id
        if self._range is not None:
            self._select_range(*self._range)
        self.cockpit.tell("clips")

    # --- choosing

    def choose(self, number: int, how: Literal["one", "add", "range"] = "one") -> None:
        """Make a row the current one; ``add`` switches its selection, ``range`` selects up to it."""
        if not self.total:
            return
        self.current = max(0, min(self.total - 1, number))
        clip = self.clip
        self._current_id = clip.id if clip is not None else None
        if how == "range":
            self._select_range(min(self._anchor, self.current), max(self._anchor, self.current))
        else:
            self._anchor = self.current
            self._range = None
            if how == "one":
                self.selected.clear()
            elif clip is not None:
                self.selected ^= {clip.id}
        self.cockpit.tell("selection")

    def choose_all(self) -> None:
        """Select every clip that fits the question, also those not loaded yet."""
        self._select_range(0, self.total - 1)
        self.cockpit.tell("selection")

    def _select_range(self, first: int, last: int) -> None:
        """Select the rows; pages that are missing are loaded and added as they come."""
        rows = range(first, min(last, self.total - 1) + 1)
        self.selected = {self._rows[n].id for n in rows if n in self._rows}
        missing = {n // PAGE for n in rows if n not in self._rows}
        self._range = (first, last) if missing else None
        for page in sorted(missing)[:4]:
            self._ask(page)

    # --- changing

    def change(self, ids: Iterable[int], **fields: Any) -> None:
        """Change clips: transcript, status, emotion."""
        wanted = list(ids)
        if not wanted:
            return

        def done(answer: Any) -> None:
            self.put(read_models(Clip, answer, "clips"))

        self.cockpit.ask("PATCH", "/api/voice/clips", {"ids": wanted, **fields}, done)

    def delete(self, ids: Iterable[int]) -> None:
        """Delete clips; undo brings them back."""
        wanted = list(ids)
        if wanted:
            self.selected.clear()
            self.cockpit.ask("DELETE", "/api/voice/clips", {"ids": wanted}, lambda _: self.reload())

    def undo(self) -> None:
        """Take the last change back."""
        cockpit = self.cockpit

        def done(answer: Any) -> None:
            what = str(answer.get("undone") or "") if isinstance(answer, dict) else ""
            cockpit.app.notify(f"Undone: {what}." if what else "There is nothing to undo.", "ok")
            self._follow(read_models(Clip, answer, "clips"))
            self.reload()

        cockpit.ask("POST", "/api/voice/clips/undo", {}, done)

    def work_on(self, clip_id: int, what: str, body: Any = None) -> None:
        """Trim, split, denoise or restore a clip."""

        def done(answer: Any) -> None:
            is_list = isinstance(answer, dict) and "clips" in answer
            clips = read_models(Clip, answer if is_list else [answer], "clips")
            self._follow(clips)
            self.put(clips)
            self.reload()

        path = f"/api/voice/clips/{clip_id}/{what}"
        self.cockpit.ask("POST", path, body, done, timeout_s=120.0)

    def _follow(self, clips: list[Clip]) -> None:
        """Look at what came of a change, wherever it stands now."""
        if clips:
            self._current_id, self._follows = clips[0].id, True

    def put(self, clips: Iterable[Clip]) -> None:
        """Show changed clips where they stand, until the table is asked again."""
        fresh = {clip.id: clip for clip in clips}
        for number, clip in self._rows.items():
            if clip.id in fresh:
                self._rows[number] = fresh[clip.id]
        self.cockpit.tell("clips")
