"""Models that can be downloaded: what each is, how large, under which licence, and how far it is."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial

from backend.contracts.entities import ModelInfo
from backend.contracts.events import DownloadProgress
from frontend.theme import Theme
from frontend.widgets.panel import Panel

HEAD = 44
TITLES = {"whisper": "Speech to text", "piper": "Voices", "base": "Where a training starts"}
ROW = 60
BUSY = ("waiting", "downloading", "checking")


class ModelCard(Panel):
    """The card; the rows scroll inside it.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        download: Called with a model's id: begin, or go on.
        cancel: Stop the download of a model.
        delete: Remove a model, or what came of it, after the person said yes.
        open_link: Show a web page.
        retry: Load again after a failure.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        *,
        download: Callable[[str], None],
        cancel: Callable[[str], None],
        delete: Callable[[str], None],
        open_link: Callable[[str], object],
        retry: Callable[[], object],
    ) -> None:
        super().__init__(master, theme)
        self.models: list[ModelInfo] = []
        self.progress_of: dict[str, DownloadProgress] = {}
        self.asking = ""
        self.problem = ""
        self.is_loaded = False
        self.download, self.cancel, self.delete_model, self.open_link = (
            download,
            cancel,
            delete,
            open_link,
        )
        self._retry = retry
        self.rows = _Rows(self, theme)

    def show(self, models: Sequence[ModelInfo], problem: str = "") -> None:
        """Show these models."""
        self.models = list(models)
        self.problem = problem
        self.is_loaded = True
        busy = {model.id for model in models if model.state in BUSY}
        self.progress_of = {name: one for name, one in self.progress_of.items() if name in busy}
        self.changed()
        self.rows.changed()

    def change(self, model: ModelInfo) -> None:
        """One of them is different now."""
        self.show([model if known.id == model.id else known for known in self.models], self.problem)

    def went_on(self, progress: DownloadProgress) -> None:
        """A download went on; draw it with `changed` of the rows."""
        self.progress_of[progress.model_id] = progress
        for number, model in enumerate(self.models):
            if model.id == progress.model_id and model.state != "downloading":
                self.models[number] = model.model_copy(
                    update={"state": "downloading", "problem": ""}
                )
        self.rows.changed()

    def ask_delete(self, model_id: str) -> None:
        """Ask in the row whether to delete; "" takes the question back."""
        self.asking = model_id
        self.rows.changed()

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width, height = p.width, p.height
        ready = [model for model in self.models if model.state == "ready"]
        held = sum(model.size_bytes for model in ready)
        sub = f"{len(ready)} of {len(self.models)} here" + (
            f"  \u00b7  {size(held)}" if held else ""
        )
        p.card(0, 0, width, height)
        p.text(16, 21, "Models", "bodyb")
        if self.models:
            start = 26 + p.text_width("Models", "bodyb")
            p.text(start, 21.5, sub, "small", "text3")
            room = width - start - p.text_width(sub, "small") - 32
            note = "nothing is fetched without a click"
            if p.text_width(note, "cap") < room:
                p.text(width - 16, 21.5, note, "cap", "text3", "e")
            self.rows.place(
                x=t.px(8),
                y=t.px(HEAD),
                width=max(1, t.px(width - 16)),
                height=max(1, t.px(height - HEAD - 8)),
            )
            return
        self.rows.place_forget()
        middle = height / 2
        if not self.is_loaded:
            p.text(width / 2, middle, "Loading the catalogue.", "small", "text3", "center")
            return
        p.icon(width / 2, middle - 34, "warn" if self.problem else "download", 24, "text3")
        words = self.problem or "The catalogue is empty."
        p.text(width / 2, middle - 12, words, "small", "text2", "n", width=width - 48)
        wide = p.text_width("Try again", "small") + 24
        self.button("retry", (width - wide) / 2, middle + 34, "Try again", self._retry)


class _Rows(Panel):
    """The models by kind."""

    def __init__(self, card: ModelCard, theme: Theme) -> None:
        super().__init__(card, theme, "surface")
        self.card = card

    def paint(self) -> None:
        width = self.painter.width - 12
        y = 0.0
        for kind in dict.fromkeys(model.kind for model in self.card.models):
            self.painter.text(8, y + 14, TITLES.get(kind, kind), "smallb", "text2")
            y += 28
            for model in self.card.models:
                if model.kind == kind:
                    y += self._paint_model(model, y, width)
            y += 8
        self.content_height = y

    def _paint_model(self, model: ModelInfo, y: float, width: float) -> float:
        p = self.painter
        if self.card.asking == model.id:
            return self._paint_question(model, y, width)
        state = model.state
        icon, tone = {
            "ready": ("check", "ok"),
            "failed": ("warn", "warn"),
            "partial": ("pause", "text3"),
            "waiting": ("clock", "accent"),
            "downloading": ("download", "accent"),
            "checking": ("shield", "accent"),
            "absent": ("download", "text3"),
        }[state]
        p.icon(16, y + 15, icon, 14, tone, 2 if state == "ready" else 1.7)
        used = self._paint_actions(model, y, width)
        right = width - used - 12
        figure = size(model.size_bytes)
        p.text(right, y + 15, figure, "monos", "text2", "e")
        room = right - p.text_width(figure, "monos") - 46
        p.text(36, y + 15, model.title, "smallb", clip=room)
        if state in BUSY:
            return self._paint_progress(model, y, width)
        if state == "failed":
            item = p.text(36, y + 34, model.problem, "cap", "warn", "nw", width=width - 44)
            box = self.bbox(item)
            return max(ROW, ((box[3] / self.theme.scale) if box else y + 44) - y + 12)
        share = model.received_bytes / model.size_bytes if model.size_bytes else 0.0
        about = (
            f"{share:.0%}".replace("%", " %") + " is here already"
            if state == "partial"
            else model.about
        )
        p.text(
            36,
            y + 33,
            about,
            "cap",
            "text2" if state == "partial" else "text3",
            clip=width - used - 56,
        )
        licence = model.licence if len(model.licence) < 40 else model.licence[:37] + "..."
        label = f"Licence: {licence}"
        wide = min(p.text_width(label, "cap"), width - used - 56)
        link = self.zone(
            f"licence:{model.id}", 32, y + 42, wide + 8, 17,
            partial(self.card.open_link, model.licence_url), tip=model.licence_url, radius=4,
        )  # fmt: skip
        item = p.text(36, y + 50, label, "cap", "text3", clip=wide + 4)
        calm, lit = self.theme.color("text3"), self.theme.color("accent")
        link.hovers.append((item, {"fill": calm}, {"fill": lit}))
        if model.language:
            start = 36 + wide + 12
            words = f"\u00b7  {model.language}"
            p.text(start, y + 50, words, "cap", "text3", clip=max(10.0, width - used - 20 - start))
        return ROW + 8

    def _paint_actions(self, model: ModelInfo, y: float, width: float) -> float:
        """The buttons at the right end; returns the room they take."""
        card, state = self.card, model.state
        at = width - 4
        if state in BUSY:
            at -= self.button(
                f"cancel:{model.id}", at, y + 3, "Cancel", partial(card.cancel, model.id), height=26,
                anchor="e", tip="What came is kept, so that it can go on later",
            )  # fmt: skip
            return width - at
        if state in ("ready", "partial", "failed") and (state == "ready" or model.received_bytes):
            at -= 4 + self.button(
                f"delete:{model.id}", at, y + 3, "", partial(card.ask_delete, model.id), icon="trash",
                kind="plain", height=26, width=28, anchor="e", tip="Delete from this computer",
            )  # fmt: skip
        if state != "ready":
            words = {"partial": "Go on", "failed": "Try again"}.get(state, "Download")
            at -= self.button(
                f"download:{model.id}", at, y + 3, words, partial(card.download, model.id), height=26,
                kind="ghost" if state == "absent" else "soft", anchor="e",
                tip=f"Download {size(model.size_bytes)}",
            )  # fmt: skip
        return width - at

    def _paint_progress(self, model: ModelInfo, y: float, width: float) -> float:
        p = self.painter
        progress = self.card.progress_of.get(model.id)
        received = progress.received_bytes if progress else model.received_bytes
        total = (progress.total_bytes if progress else None) or model.size_bytes
        share = min(1.0, received / total) if total else None
        if model.state == "waiting":
            words = "Waiting for another download"
        elif model.state == "checking":
            words, share = "Checking that it arrived whole", 1.0
        else:
            words = progress_in_words(received, total, progress)
        self.progress(36, y + 31, width - 44, share)
        p.text(36, y + 49, words, "cap", "text2", clip=width - 48)
        return ROW + 8

    def _paint_question(self, model: ModelInfo, y: float, width: float) -> float:
        p, middle = self.painter, y + ROW / 2
        at = width - 4
        at -= 6 + self.button(
            "keep",
            at,
            middle - 13,
            "Keep",
            partial(self.card.ask_delete, ""),
            height=26,
            anchor="e",
        )
        at -= 6 + self.button(
            "sure", at, middle - 13, "Delete", partial(self._delete, model.id), icon="trash",
            color="error", height=26, anchor="e",
        )  # fmt: skip
        p.icon(16, middle, "warn", 14, "warn", 2)
        p.text(36, middle, f"Delete {model.title}?", "smallb", clip=at - 44)
        return ROW + 8

    def _delete(self, model_id: str) -> None:
        self.card.ask_delete("")
        self.card.delete_model(model_id)


def size(count: float) -> str:
    """Bytes for a person."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def progress_in_words(received: int, total: int, progress: DownloadProgress | None) -> str:
    """How far a download is: share, amount, speed, time left."""
    parts = []
    if total:
        parts.append(f"{min(1.0, received / total):.0%}".replace("%", " %"))
    parts.append(f"{size(received)} of {size(total)}")
    if progress is not None:
        if progress.rate_bytes_s:
            parts.append(f"{size(progress.rate_bytes_s)}/s")
        if progress.eta_s is not None:
            minutes, seconds = divmod(round(progress.eta_s), 60)
            left = f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
            parts.append(f"{left} left")
    return "  \u00b7  ".join(parts)
