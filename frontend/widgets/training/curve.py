"""The loss curve of a training: drawn smooth with Pillow away from the Tk thread, shown on a canvas.

`CurveView` collects points (from REST and live), asks for a new picture at most twice a second and keeps the old one
while the page is being resized.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, floor, isfinite, log10
from time import monotonic

from PIL import Image, ImageDraw, ImageTk

from backend.contracts.training import Checkpoint, Job, LossPoint
from frontend.theme import Theme, mix, rgb
from frontend.widgets.panel import Panel
from frontend.widgets.training.state import Cockpit

LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 8.0, 20.0
OVERSAMPLED = 3
REDRAW_S = 0.5
SETTLED_MS = 120
MOST_POINTS = 1_500
SHARE_SEEN = 0.02
"""The highest points cut off the top: the first steps would flatten all the rest."""


@dataclass(frozen=True, slots=True)
class Scales:
    """What the axes span."""

    last_step: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Looks:
    """Colours as "#RRGGBB" and the size of the plot in real pixels."""

    width: int
    height: int
    surface: str
    train: str
    validation: str


def scales(points: Sequence[LossPoint], steps: int | None) -> Scales | None:
    """Axes for these points; None when there is nothing to draw."""
    values = sorted(
        value for point in points for value in (point.train, point.validation) if value is not None
    )
    values = [value for value in values if isfinite(value)]
    if not values:
        return None
    high = values[min(len(values) - 1, ceil(len(values) * (1 - SHARE_SEEN)))]
    low = values[0]
    room = max(high - low, abs(high) * 0.02, 1e-4)
    last = max(point.step for point in points)
    return Scales(max(last, steps or 0, 1), low - 0.06 * room, high + 0.08 * room)


def ticks(low: float, high: float, most: int, least: float = 0.0) -> list[float]:
    """Round numbers between two bounds, at most ``most`` and not nearer than ``least``."""
    span = max((high - low) / max(1, most), least)
    if span <= 0 or not isfinite(span):
        return []
    power = 10.0 ** floor(log10(span))
    step = next((power * one for one in (1, 2, 5, 10) if power * one >= span), power * 10)
    first = ceil(low / step)
    return [number * step for number in range(first, floor(high / step) + 1)][: most + 1]


def in_words(values: Sequence[float]) -> list[str]:
    """Numbers for an axis, with as many digits as it takes to tell them apart."""
    for digits in range(3, 9):
        words = [f"{value:.{digits}g}" for value in values]
        if len(set(words)) == len(words):
            break
    return words


def picture(points: Sequence[LossPoint], axes: Scales, looks: Looks) -> Image.Image:
    """Both curves; the training's filled below, the validation's on top. Pure, for the worker."""
    wide, high = looks.width * OVERSAMPLED, looks.height * OVERSAMPLED
    image = Image.new("RGB", (wide, high), looks.surface)
    draw = ImageDraw.Draw(image)

    def places(name: str) -> list[tuple[float, float]]:
        found = []
        for point in points:
            value = getattr(point, name)
            if value is not None and isfinite(value):
                share = min(1.05, (value - axes.low) / (axes.high - axes.low))
                found.append((point.step / axes.last_step * wide, (1 - share) * high))
        return found

    train, validation = places("train"), places("validation")
    if len(train) > 1:
        fill = rgb(mix(looks.train, looks.surface, 0.84))
        draw.polygon([(train[0][0], high), *train, (train[-1][0], high)], fill=fill)
        draw.line(train, fill=rgb(mix(looks.train, looks.surface, 0.25)), width=OVERSAMPLED + 1)
    if len(validation) > 1:
        draw.line(validation, fill=rgb(looks.validation), width=2 * OVERSAMPLED, joint="curve")
    for x, y in validation if len(validation) < 3 else validation[-1:]:
        reach = 2.5 * OVERSAMPLED
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=rgb(looks.validation))
    return image.resize((looks.width, looks.height), Image.Resampling.BOX)


class CurveView(Panel):
    """The plot with its axes and the marks of checkpoints.

    Args:
        master: The card.
        cockpit: What is known.
    """

    def __init__(self, master: tk.Misc, cockpit: Cockpit) -> None:
        super().__init__(master, cockpit.app.theme, "surface")
        self.configure(takefocus=0)
        self.cockpit = cockpit
        self._live: list[LossPoint] = []
        self._job_id = ""
        self._picture: ImageTk.PhotoImage | None = None
        self._drawn_for: tuple[object, ...] = ()
        self._asked = 0.0
        self._later: str | None = None
        self._working = False
        cockpit.watch(("losses", "progress", "jobs", "checkpoints"), lambda topic: self._told())
        self.bind("<Configure>", lambda _: self._soon(SETTLED_MS), add="+")
        self.bind("<Destroy>", lambda _: self._cancel(), add="+")

    # --- points

    def points(self) -> list[LossPoint]:
        """All that is known of the looked-at training, by step."""
        known = self.cockpit.losses
        last = known[-1].step if known else -1
        return [*known, *(point for point in self._live if point.step > last)][-MOST_POINTS:]

    def _told(self) -> None:
        job = self.cockpit.training
        if (job.id if job else "") != self._job_id:
            self._job_id = job.id if job else ""
            self._live, self._picture = [], None
        if job is not None:
            self._take(job)
        self._soon(0)

    def _take(self, job: Job) -> None:
        train = job.losses.get("train", job.loss)
        if job.state != "train" or not job.step or train is None:
            return
        if self._live and self._live[-1].step >= job.step:
            return
        point = LossPoint(step=job.step, train=train, validation=job.losses.get("validation"))
        self._live.append(point)
        if len(self._live) > 2 * MOST_POINTS:
            self._live = self._live[::2]

    # --- drawing

    def _soon(self, delay_ms: int) -> None:
        """Ask for a new picture, at most two a second."""
        wait = max(delay_ms, round(1000 * (self._asked + REDRAW_S - monotonic())))
        if self._later is None and not self._working:
            self._later = self.after(max(1, wait), self._ask)

    def _ask(self) -> None:
        self._later = None
        if not self.winfo_ismapped():
            return
        t, points = self.theme, self.points()
        job = self.cockpit.training
        axes = scales(points, job.steps if job is not None else None)
        looks = self._looks(t)
        if axes is None or looks.width < 20 or looks.height < 20:
            self._picture = None
            self.changed()
            return
        wanted = (axes, looks, len(points), points[-1])
        if wanted == self._drawn_for and self._picture is not None:
            return
        self._asked, self._working = monotonic(), True
        self.cockpit.work(partial(picture, points, axes, looks), partial(self._drew, wanted))

    def _drew(self, wanted: tuple[object, ...], image: Image.Image) -> None:
        self._working = False
        if not self.winfo_exists():
            return
        self._drawn_for = wanted
        self._picture = ImageTk.PhotoImage(image, master=self)
        self.changed()

    def _looks(self, t: Theme) -> Looks:
        p = self.painter
        return Looks(
            max(0, t.px(p.width - LEFT - RIGHT)),
            max(0, t.px(p.height - TOP - BOTTOM)),
            t.color("surface"),
            t.color("llm"),
            t.color("accent"),
        )

    def paint(self) -> None:
        p = self.painter
        right, low = p.width - RIGHT, p.height - BOTTOM
        if self._picture is None or not self._drawn_for:
            job = self.cockpit.training
            waits = job is not None and job.state == "train"
            words = "The curve begins with the first steps." if waits else "No curve yet."
            p.text(p.width / 2, p.height / 2, words, "cap", "text3", "center")
            return
        axes = self._drawn_for[0]
        assert isinstance(axes, Scales)
        p.image(LEFT, TOP, self._picture)
        values = ticks(axes.low, axes.high, 4)
        for value, words in zip(values, in_words(values), strict=True):
            y = low - (value - axes.low) / (axes.high - axes.low) * (low - TOP)
            p.line(LEFT, y, right, y)
            p.text(LEFT - 6, y, words, "cap", "text3", "e")
        p.line(LEFT, low, right, low, "line2")
        for step in ticks(0, axes.last_step, max(2, int((right - LEFT) // 90)), least=1):
            x = LEFT + step / axes.last_step * (right - LEFT)
            anchor = "center" if step else "w"
            if x < right - 16:
                p.text(x, low + 11, in_short(step), "cap", "text3", anchor)  # type: ignore[arg-type]  # both words are anchors
        for one in self.cockpit.checkpoints:
            self._mark(one, axes, right, low)
        words = "validation"
        room = p.text_width(words, "cap") + 8 + p.text_width("train", "cap")
        # The curve begins high at the left, but one that rises reaches up here: the words stay readable on it.
        p.box(right - room - 6, TOP - 3, room + 10, 18, "surface", None, 4)
        p.text(right, TOP + 6, "train", "cap", "llm", "e")
        p.text(right - p.text_width("train", "cap") - 8, TOP + 6, words, "cap", "accent", "e")

    def _mark(self, one: Checkpoint, axes: Scales, right: float, low: float) -> None:
        if not 0 < one.step <= axes.last_step:
            return
        p = self.painter
        x = LEFT + one.step / axes.last_step * (right - LEFT)
        p.line(x, TOP + 14, x, low, "line2", dash=(2, 3))
        if one.is_best:
            p.icon(x, TOP + 22, "star", 12, "warn")

    def _cancel(self) -> None:
        if self._later is not None:
            self.after_cancel(self._later)
            self._later = None


def in_short(number: float) -> str:
    """A count for an axis: 800, 2.5k, 10k."""
    if number < 1000:
        return f"{number:.0f}"
    return f"{number / 1000:.3g}k"
