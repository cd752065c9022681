"""Draw the puppets of the built-in characters, layer by layer: python scripts/make_puppets.py [folder] [id …].

Faces and heads are those of faces.py, drawn as SVG and taken apart: what moves by itself (ears, arms, tail,
eyes, mouth) is a layer of its own. Coordinates are those of its 512 grid; below the head comes a body. docs/rigs.md says what a
rig is, docs/overlay.md what the "puppet" part means. The result is what lies in backend/avatar/builtin.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from backend.chat.builtin import EXPRESSIONS
from scripts import faces
from scripts.faces import (
    FOX,
    OWL,
    RABBIT,
    ROBOT,
    Look,
    Point,
    bent,
    both,
    mirrored,
    oval,
    spline,
    star,
)

TARGET = ROOT / "backend" / "avatar" / "builtin"
CANVAS = (-80, -72, 672, 812)
"""Left, top, width and height of a puppet: a head of 512 with room for ears, arms and a body."""

NECK_Y = 430
SHORTER = 0.82
"""Below the neck everything is drawn longer than it is shown: a small body makes the face the main thing."""

TOLERANCE = 0.12
"""How far a saved outline may be from the drawn one, in units; a puppet is shown at about one pixel a unit."""


# --- drawing as SVG -----------------------------------------------------------------------------------------------


@dataclass
class Mask:
    """A clip path: inside the shape, and inside ``within``."""

    shape: Sequence[Point]
    within: Mask | None = None


@dataclass
class Layer:
    """One picture of a puppet: takes the calls of `faces.Canvas` and writes them down as SVG."""

    shapes: list[str] = field(default_factory=list)
    defs: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)
    bounds: list[float] = field(default_factory=lambda: [1e9, 1e9, -1e9, -1e9])

    def mask(self, shape: Sequence[Point], clip: Mask | None = None) -> Mask:
        """Inside the shape (and inside ``clip``)."""
        return Mask(shape, clip)

    def fill(
        self,
        shape: Sequence[Point],
        colour: str,
        to: str | None = None,
        *,
        clip: Mask | None = None,
        blur: float = 0,
        alpha: float = 1.0,
    ) -> Mask:
        """Paint a shape, from ``colour`` at its top to ``to`` at its bottom; returns its mask."""
        paint = colour
        if to:
            ys = [y for _, y in shape]
            paint = self._gradient(colour, to, min(ys), max(ys))
        attributes = f' fill="{paint}"'
        if alpha < 1:
            attributes += f' fill-opacity="{number(alpha)}"'
        if blur:
            attributes += f' filter="url(#{self._blur(blur)})"'
        self._add(f'<path d="{path(shape, closed=True)}"{attributes}/>', clip)
        self._grow(shape, blur * 2.5, clip)
        return Mask(shape)

    def stroke(
        self, points: Sequence[Point], colour: str, width: float, *, clip: Mask | None = None
    ) -> None:
        """A line with round ends."""
        attributes = (
            f' fill="none" stroke="{colour}" stroke-width="{number(width)}"'
            ' stroke-linecap="round" stroke-linejoin="round"'
        )
        self._add(f'<path d="{path(points, closed=False)}"{attributes}/>', clip)
        self._grow(points, width / 2, clip)

    def shape(
        self,
        points: Sequence[Point],
        colour: str,
        to: str | None = None,
        *,
        line: str | None = None,
        width: float = 6,
    ) -> Mask:
        """A filled shape with an outline; returns its mask."""
        mask = self.fill(points, colour, to)
        if line:
            self.stroke([*points, points[0], points[1]], line, width)
        return mask

    def box(self) -> list[int]:
        """Left, top, width, height of what is painted, in whole units with a little room."""
        left, top = math.floor(self.bounds[0]) - 2, math.floor(self.bounds[1]) - 2
        return [
            left,
            top,
            math.ceil(self.bounds[2]) + 2 - left,
            math.ceil(self.bounds[3]) + 2 - top,
        ]

    def svg(self) -> str:
        """The picture."""
        x, y, w, h = self.box()
        defs = f"<defs>{''.join(self.defs)}</defs>" if self.defs else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="{x} {y} {w} {h}">'
            f"{defs}{''.join(self.shapes)}</svg>\n"
        )

    def _add(self, shape: str, clip: Mask | None) -> None:
        while clip is not None:
            shape = f'<g clip-path="url(#{self._clip(clip)})">{shape}</g>'
            clip = clip.within
        self.shapes.append(shape)

    def _grow(self, shape: Sequence[Point], by: float, clip: Mask | None) -> None:
        xs, ys = [x for x, _ in shape], [y for _, y in shape]
        edges = [min(xs) - by, min(ys) - by, max(xs) + by, max(ys) + by]
        while clip is not None:
            cx, cy = [x for x, _ in clip.shape], [y for _, y in clip.shape]
            edges = [
                max(edges[0], min(cx)),
                max(edges[1], min(cy)),
                min(edges[2], max(cx)),
                min(edges[3], max(cy)),
            ]
            clip = clip.within
        if edges[0] < edges[2] and edges[1] < edges[3]:
            self.bounds = [
                min(self.bounds[0], edges[0]),
                min(self.bounds[1], edges[1]),
                max(self.bounds[2], edges[2]),
                max(self.bounds[3], edges[3]),
            ]

    def _defined(self, kind: str, markup: str) -> str:
        name = self.known.get(markup)
        if name is None:
            name = self.known[markup] = f"{kind}{len(self.known)}"
            self.defs.append(markup.replace("ID", name, 1))
        return name

    def _gradient(self, top: str, bottom: str, y0: float, y1: float) -> str:
        markup = (
            f'<linearGradient id="ID" gradientUnits="userSpaceOnUse" x1="0" x2="0" y1="{number(y0)}" y2="{number(y1)}">'
            f'<stop stop-color="{top}"/><stop offset="1" stop-color="{bottom}"/></linearGradient>'
        )
        return f"url(#{self._defined('g', markup)})"

    def _blur(self, blur: float) -> str:
        markup = (
            '<filter id="ID" x="-60%" y="-60%" width="220%" height="220%">'
            f'<feGaussianBlur stdDeviation="{number(blur)}"/></filter>'
        )
        return self._defined("b", markup)

    def _clip(self, clip: Mask) -> str:
        markup = f'<clipPath id="ID"><path d="{path(clip.shape, closed=True)}"/></clipPath>'
        return self._defined("c", markup)


def number(value: float) -> str:
    """A number as short as it can be at a tenth of a unit (a hundredth below one)."""
    text = f"{value:.2f}" if abs(value) < 1 else f"{value:.1f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def path(points: Sequence[Point], *, closed: bool) -> str:
    """SVG path data, without the points that change nothing."""
    kept = simplified(list(points))
    if closed and len(kept) > 2 and math.dist(kept[0], kept[-1]) < 0.05:
        kept.pop()
    out = [f"M{number(kept[0][0])} {number(kept[0][1])}"]
    x0, y0 = (float(number(v)) for v in kept[0])
    for x, y in kept[1:]:
        # Relative steps are half as long; from the rounded place, so that errors do not add up.
        dx, dy = number(x - x0), number(y - y0)
        out.append(f"l{dx}{'' if dy.startswith('-') else ' '}{dy}")
        x0, y0 = x0 + float(dx), y0 + float(dy)
    return "".join(out) + ("z" if closed else "")


def simplified(points: list[Point]) -> list[Point]:
    """The fewest of the points that stay within TOLERANCE of all (Ramer 1972, Douglas and Peucker 1973)."""
    if len(points) < 3:
        return points
    (ax, ay), (bx, by) = points[0], points[-1]
    length = math.hypot(bx - ax, by - ay)
    worst, at = -1.0, 0
    for i, (x, y) in enumerate(points[1:-1], 1):
        away = (
            abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / length
            if length > 1e-9
            else math.hypot(x - ax, y - ay)
        )
        if away > worst:
            worst, at = away, i
    if worst <= TOLERANCE:
        return [points[0], points[-1]]
    return [*simplified(points[: at + 1])[:-1], *simplified(points[at:])]


# --- mouths that speak --------------------------------------------------------------------------------------------

VISEMES = {
    "sil": "", "PP": "PP", "FF": "FF", "TH": "TH", "DD": "DD", "kk": "kk", "CH": "CH", "SS": "SS", "nn": "nn", "RR": "RR",
    "aa": "aa", "E": "E", "ih": "ih", "oh": "oh", "ou": "ou",
}  # fmt: skip
"""Mouth shape of each viseme; empty = the mouth of the face."""

FEW_VISEMES = {
    **VISEMES, "TH": "DD", "kk": "E", "CH": "SS", "nn": "DD", "RR": "ou",
}  # fmt: skip
"""The same for a mouth that can do less."""


@dataclass(frozen=True)
class Opening:
    """A speaking mouth: half its width, its height, and what is seen in it."""

    width: float
    height: float
    is_round: bool = False
    teeth: float = 0
    tongue: float = 0
    """Height of the tongue; more than the mouth's height = it comes to the teeth."""


OPENINGS = {
    "FF": Opening(17, 13, teeth=8),
    "TH": Opening(20, 18, teeth=5, tongue=15),
    "DD": Opening(22, 17, teeth=6, tongue=9),
    "kk": Opening(19, 22, tongue=7),
    "CH": Opening(15, 20, is_round=True, teeth=9),
    "SS": Opening(25, 14, teeth=14),
    "nn": Opening(18, 11, tongue=8),
    "RR": Opening(13, 17, is_round=True, tongue=7),
    "aa": Opening(29, 40, teeth=6, tongue=18),
    "E": Opening(32, 27, teeth=6, tongue=13),
    "ih": Opening(31, 18, teeth=6, tongue=6),
    "oh": Opening(19, 33, is_round=True, tongue=12),
    "ou": Opening(11, 20, is_round=True),
}


def speaking_mouth(layer: Layer, look: Look, name: str) -> None:
    """A fox's or a rabbit's mouth in the middle of a word."""
    x, y, ink = 256.0, look.mouth_y, look.ink
    if name == "PP":
        layer.stroke(
            spline(
                [(x - 19, y + 9), (x - 8, y + 5), (x + 8, y + 5), (x + 19, y + 9)], closed=False
            ),
            ink,
            8,
        )
        return
    mouth = OPENINGS[name]
    w, h = mouth.width, mouth.height
    if mouth.is_round:
        shape = oval(x, y + h / 2, w, h / 2 + 2)
    else:
        shape = spline(
            [(x - w, y - 1), (x - w * 0.45, y - 1), (x, y + 2), (x + w * 0.45, y - 1), (x + w, y - 1),
             (x + w * 0.74, y + h * 0.74), (x, y + h), (x - w * 0.74, y + h * 0.74)]
        )  # fmt: skip
    inside = layer.shape(shape, "#8E2B43", "#5F1830", line=ink, width=6)
    if mouth.tongue:
        layer.fill(oval(x, y + h + 3, w * 0.78, mouth.tongue), "#FF8C9B", "#F0738A", clip=inside)
    if mouth.teeth:
        top = y - 6
        layer.fill(
            spline([(x - w, top), (x, top - 2), (x + w, top), (x + w * 0.8, y + mouth.teeth), (x, y + mouth.teeth + 2),
                    (x - w * 0.8, y + mouth.teeth)]),
            "#FFFFFF", "#F1EEF6", clip=inside,
        )  # fmt: skip
    layer.stroke([*shape, *shape[:2]], ink, 6)


# --- putting a puppet together ------------------------------------------------------------------------------------

MOODS = EXPRESSIONS
CLOSED_EYES = ("joy", "sleepy", "love")
"""Moods whose eyes do not blink: they are closed, or hearts."""


@dataclass
class Part:
    """Something that moves by itself.

    Attributes:
        parent: What it moves along with.
        pivot: What it turns and grows around.
        layer: Its picture; None = nothing to see, or ``states``.
        states: Its pictures by name, of which one is shown.
        state: The one at rest; empty = none.
    """

    name: str
    parent: str = ""
    pivot: Point = (256, 300)
    layer: Layer | None = None
    states: dict[str, Layer] = field(default_factory=dict)
    state: str = ""


Expression = dict[str, dict[str, float | str]]
"""Part -> what is different about it: state, rotate (degrees), x, y (units), scale_x, scale_y, opacity."""


@dataclass
class Puppet:
    """All of one character, in the order in which it is painted."""

    title: str
    parts: list[Part]
    expressions: dict[str, Expression]
    idle: list[tuple[str, str, float, float, float]]
    visemes: dict[str, str]
    motions: dict[str, tuple[float, dict[str, list[list[float]]]]]
    voices: dict[str, str] = field(default_factory=dict)
    """Expression -> ending of its mouth shapes' names, where it has its own."""


def both_sides(draw: Callable[[Layer, int], None]) -> Layer:
    """A layer with the left (-1) and the right (1) of something on it."""
    layer = Layer()
    for side in (-1, 1):
        draw(layer, side)
    return layer


def pictured(draw: Callable[[Layer], object]) -> Layer:
    """A layer with something on it."""
    layer = Layer()
    draw(layer)
    return layer


def eyes_by_mood(look: Look) -> dict[str, Layer]:
    """Both eyes in every mood, and shut."""

    def both_eyes(mood: str) -> Layer:
        return both_sides(lambda layer, side: faces.eye(layer, look, mood, side))

    def shut(layer: Layer) -> None:
        for side in (-1, 1):
            x, y = 256 + side * look.eye_x, look.eye_y + 12
            lid = [
                (x - look.rx, y - 4),
                (x - 18, y + 9),
                (x, y + 12),
                (x + 18, y + 9),
                (x + look.rx, y - 4),
            ]
            layer.stroke(spline(lid, closed=False), look.ink, 10)
            flick = (x + side * look.rx, y - 4)
            layer.stroke([flick, (flick[0] + side * 9, flick[1] - 7)], look.ink, 7)

    return {**{mood: both_eyes(mood) for mood in MOODS}, "shut": pictured(shut)}


def brows_by_mood(look: Look) -> dict[str, Layer]:
    """Both brows in every mood."""

    def of(mood: str) -> Layer:
        return both_sides(lambda layer, side: faces.brow(layer, look, mood, side))

    return {mood: of(mood) for mood in MOODS}


def mouths(look: Look) -> dict[str, Layer]:
    """The mouth of every mood, and those that speak."""
    still = {
        mood: pictured(lambda layer, mood=mood: faces.mouth(layer, look, mood))  # type: ignore[misc]  # bound now
        for mood in MOODS
    }
    spoken = {
        name: pictured(lambda layer, name=name: speaking_mouth(layer, look, name))  # type: ignore[misc]  # bound now
        for name in ("PP", *OPENINGS)
    }
    return {**still, **spoken}


def cheeks(look: Look) -> Layer:
    """Warm cheeks at full strength; a face fades them."""

    def draw(layer: Layer) -> None:
        for side in (-1, 1):
            x, y = 256 + side * (look.eye_x + 34), look.eye_y + look.ry + 20
            layer.fill(oval(x, y, 33, 17), look.blush, blur=9)

    return pictured(draw)


def blush_lines(look: Look) -> Layer:
    """The strokes on cheeks that are red."""

    def draw(layer: Layer) -> None:
        for side in (-1, 1):
            x, y = 256 + side * (look.eye_x + 34), look.eye_y + look.ry + 20
            for n in (-1, 0, 1):
                layer.stroke([(x + n * 13 + 5, y - 7), (x + n * 13 - 4, y + 7)], "#E2506E", 4)

    return pictured(draw)


def signs_by_mood(look: Look, moods: Sequence[str] = MOODS) -> dict[str, Layer]:
    """Tears, sweat, hearts: what comics add."""
    drawn = {
        mood: pictured(lambda layer, mood=mood: faces.signs(layer, look, mood))  # type: ignore[misc]  # bound now
        for mood in moods
    }
    return {mood: layer for mood, layer in drawn.items() if layer.shapes}


CHEEKS = {"shy": 0.9, "love": 0.85, "joy": 0.65, "sad": 0.3, "angry": 0.5}

POSE: dict[str, dict[str, dict[str, float]]] = {
    "neutral": {},
    "joy": {"head": {"y": -4, "rotate": -2}, "arm_left": {"rotate": 14}, "arm_right": {"rotate": -14}},
    "sad": {"head": {"y": 9, "rotate": 3}, "arm_left": {"rotate": -5}, "arm_right": {"rotate": 5}},
    "angry": {"head": {"y": 3}, "arm_left": {"rotate": 26}, "arm_right": {"rotate": -26}},
    "surprised": {"head": {"y": -8}, "arm_left": {"rotate": 34}, "arm_right": {"rotate": -34}},
    "smug": {"head": {"rotate": 4}, "arm_right": {"rotate": -8}},
    "shy": {"head": {"y": 6, "rotate": -4}, "arm_left": {"rotate": -10}, "arm_right": {"rotate": 10}},
    "sleepy": {"head": {"y": 10, "rotate": 5}},
    "love": {"head": {"y": -3, "rotate": 3}, "arm_left": {"rotate": -13}, "arm_right": {"rotate": 13}},
    "thinking": {"head": {"rotate": 5, "y": 2}, "arm_left": {"rotate": -6}},
}  # fmt: skip
"""How the body goes along with a mood, all four alike."""


def expressions_of(
    parts: Sequence[Part], extra: dict[str, dict[str, dict[str, float | str]]] | None = None
) -> dict[str, Expression]:
    """Each mood: the pictures of its name, the body along with it, and what is this character's own."""
    found: dict[str, Expression] = {}
    for mood in MOODS:
        shown: Expression = {part: dict(change) for part, change in POSE[mood].items()}
        for part in parts:
            if part.name == "signs":
                shown.setdefault("signs", {})["state"] = mood if mood in part.states else ""
            elif mood in part.states:
                shown.setdefault(part.name, {})["state"] = mood
        names = {part.name for part in parts}
        if "cheeks" in names:
            shown["cheeks"] = {"opacity": CHEEKS.get(mood, 0.38)}
            shown["blush"] = {"opacity": 1.0 if mood in ("shy", "love") else 0.0}
        for part_name, change in ((extra or {}).get(mood, {})).items():
            shown.setdefault(part_name, {}).update(change)
        found[mood] = shown
    return found


Track = list[list[float]]


def motions() -> dict[str, tuple[float, dict[str, Track]]]:
    """Name -> length (ms) and, for part.what, its values over time as [share of the length, value]."""

    def there_and_back(*values: float) -> Track:
        steps = [0.0, *values, 0.0]
        return [[round(i / (len(steps) - 1), 3), value] for i, value in enumerate(steps)]

    up = -108.0
    return {
        "wave": (2000, {
            "arm_right.rotate": [[0, 0], [0.16, up], [0.29, up + 34], [0.42, up - 4], [0.55, up + 34], [0.68, up - 4],
                                 [0.82, up + 20], [1, 0]],
            "head.rotate": [[0, 0], [0.2, 5], [0.8, 5], [1, 0]],
            "root.rotate": [[0, 0], [0.2, -1.5], [0.8, -1.5], [1, 0]],
        }),
        "nod": (1000, {
            "head.y": [[0, 0], [0.2, 20], [0.42, -3], [0.64, 16], [0.84, -1], [1, 0]],
            "head.scale_y": [[0, 1], [0.2, 0.965], [0.42, 1], [0.64, 0.975], [1, 1]],
        }),
        "shake": (1200, {
            "head.x": there_and_back(-17, 17, -15, 12, -6),
            "head.rotate": there_and_back(-4, 4, -3.5, 3, -1),
        }),
        "jump": (1000, {
            "root.y": [[0, 0], [0.17, 14], [0.45, -92], [0.55, -92], [0.78, 10], [0.88, -4], [1, 0]],
            "root.scale_y": [[0, 1], [0.17, 0.93], [0.32, 1.05], [0.6, 1.02], [0.78, 0.94], [0.9, 1.01], [1, 1]],
            "root.scale_x": [[0, 1], [0.17, 1.05], [0.32, 0.97], [0.6, 0.99], [0.78, 1.04], [0.9, 1], [1, 1]],
            "arm_left.rotate": [[0, 0], [0.17, -12], [0.42, 100], [0.62, 92], [0.85, 8], [1, 0]],
            "arm_right.rotate": [[0, 0], [0.17, 12], [0.42, -100], [0.62, -92], [0.85, -8], [1, 0]],
        }),
        "bow": (1700, {
            "head.y": [[0, 0], [0.3, 58], [0.6, 58], [1, 0]],
            "head.scale_y": [[0, 1], [0.3, 0.93], [0.6, 0.93], [1, 1]],
            "body.scale_y": [[0, 1], [0.3, 0.93], [0.6, 0.93], [1, 1]],
            "arm_left.rotate": [[0, 0], [0.3, -12], [0.6, -12], [1, 0]],
            "arm_right.rotate": [[0, 0], [0.3, 12], [0.6, 12], [1, 0]],
        }),
        "dance": (2400, {
            "root.x": there_and_back(-22, 22, -22, 22),
            "root.rotate": there_and_back(-5, 5, -5, 5),
            "root.y": there_and_back(-14, 0, -14, 0, -14, 0, -14),
            "head.rotate": there_and_back(7, -7, 7, -7),
            "arm_left.rotate": there_and_back(64, 12, 64, 12),
            "arm_right.rotate": there_and_back(-12, -64, -12, -64),
        }),
    }  # fmt: skip


IDLE: list[tuple[str, str, float, float, float]] = [
    ("body", "scale_y", 0.012, 3800, 0.0),
    ("head", "y", 3.2, 3800, 0.08),
    ("head", "rotate", 1.3, 7300, 0.3),
    ("head", "x", 2.0, 9100, 0.0),
    ("arm_left", "rotate", 2.2, 3800, 0.2),
    ("arm_right", "rotate", -2.2, 3800, 0.24),
]
"""Part, what of it, how far, period (ms), phase (0-1): breathing and a slow sway."""


def arm(shape: Sequence[Point], colour: str, to: str, ink: str, paw: str = "") -> Layer:
    """A left arm that hangs down, or its mirror image."""

    def draw(layer: Layer) -> None:
        inside = layer.shape(shape, colour, to, line=ink)
        if paw:
            low = max(shape, key=lambda p: p[1])
            layer.fill(oval(low[0], low[1] - 2, 42, 34), paw, clip=inside)
            layer.stroke([*shape, *shape[:2]], ink, 6)

    return pictured(draw)


ARM: list[Point] = spline(
    [(176, 506), (150, 512), (124, 562), (106, 622), (112, 660), (136, 670), (160, 652), (172, 606), (190, 552), (194, 518)]
)  # fmt: skip
SHOULDER: Point = (176, 526)


def arms(colour: str, to: str, ink: str, paw: str = "") -> list[Part]:
    """Both arms, before the body."""
    return [
        Part("arm_left", "root", SHOULDER, arm(ARM, colour, to, ink, paw)),
        Part("arm_right", "root", (512 - SHOULDER[0], SHOULDER[1]), arm(mirrored(ARM), colour, to, ink, paw)),
    ]  # fmt: skip


TORSO: list[Point] = spline(
    both([(256, 418), (206, 428), (172, 480), (152, 560), (142, 640), (152, 712), (196, 752), (256, 758)])
)  # fmt: skip
FEET = (204.0, 756.0, 50.0, 26.0)


def torso(layer: Layer, colour: str, to: str, ink: str, *, belly: str = "", feet: str = "") -> None:
    """A small round body on two feet."""
    for side in (-1, 1):
        x = 256 + side * (256 - FEET[0])
        layer.shape(oval(x, FEET[1], FEET[2], FEET[3]), feet or colour, to, line=ink)
        for toe in (-1, 1):
            layer.stroke([(x + toe * 14, FEET[1] + 8), (x + toe * 14, FEET[1] + 17)], ink, 5)
    inside = layer.shape(TORSO, colour, to, line=ink)
    if belly:
        layer.fill(oval(256, 632, 74, 106), belly, clip=inside)
    layer.fill(oval(256, 452, 120, 34), ink, clip=inside, blur=12, alpha=0.32)
    layer.stroke([*TORSO, *TORSO[:2]], ink, 6)


def face_parts(look: Look) -> list[Part]:
    """What all furry faces have; the nose is the head's own."""
    middle = (256.0, look.eye_y)
    return [
        Part("cheeks", "head", layer=cheeks(look)),
        Part("blush", "head", layer=blush_lines(look)),
        Part("eyes", "head", middle, states=eyes_by_mood(look), state="neutral"),
        Part("brows", "head", middle, states=brows_by_mood(look), state="neutral"),
        Part("mouth", "head", (256, look.mouth_y), states=mouths(look), state="neutral"),
    ]


# --- the four -----------------------------------------------------------------------------------------------------


def hoshi() -> Puppet:
    """The copper star fox."""
    ink = FOX.ink

    def tail(layer: Layer) -> None:
        shape = spline(
            [(312, 740), (396, 716), (462, 650), (472, 568), (452, 512), (500, 466), (556, 520), (574, 604), (540, 694),
             (450, 764), (340, 776)]
        )  # fmt: skip
        inside = layer.shape(shape, "#F59A4A", "#D9662B", line=ink)
        layer.fill(oval(512, 512, 66, 62, 20), "#FFF6E8", clip=inside)
        layer.fill(oval(430, 740, 90, 26, -20), "#B4491E", clip=inside, blur=10, alpha=0.5)
        layer.stroke([*shape, *shape[:2]], ink, 6)

    def head(layer: Layer) -> None:
        faces.fox_head(layer)
        faces.fox_nose(layer)

    def scarf(layer: Layer) -> None:
        shape = spline(
            both([(256, 428), (196, 424), (152, 452), (146, 492), (186, 518), (256, 528)])
        )
        inside = layer.shape(shape, "#4257B4", "#24317A", line=ink)
        layer.fill(oval(256, 440, 120, 30), "#10153A", clip=inside, blur=10, alpha=0.55)
        layer.stroke(
            spline([(166, 490), (210, 506), (256, 510), (302, 506), (346, 490)], closed=False),
            "#6C82DA",
            4,
        )
        layer.stroke([*shape, *shape[:2]], ink, 6)
        layer.shape(star(256, 514, 30), "#FFE98A", "#FFC02E", line=ink, width=5)

    parts = [
        Part("root", "", (256, 772)),
        Part("tail", "root", (326, 744), pictured(tail)),
        Part(
            "body", "root", (256, 766),
            pictured(lambda layer: torso(layer, "#F7A653", "#DB6B2C", ink, belly="#FFF3E2", feet="#6B3142")),
        ),
        *arms("#F7A653", "#E0712F", ink, "#4A2338"),
        Part("scarf", "root", (256, 470), pictured(scarf)),
        Part("head", "root", (256, 440)),
        Part("ear_left", "head", (172, 210), pictured(lambda layer: faces.fox_ear(layer, -1))),
        Part("ear_right", "head", (340, 210), pictured(lambda layer: faces.fox_ear(layer, 1))),
        Part("skull", "head", (256, 300), pictured(head)),
        *face_parts(FOX),
        Part("pin", "head", (382, 182), pictured(faces.fox_pin)),
        Part("signs", "head", (256, 200), states=signs_by_mood(FOX)),
    ]  # fmt: skip
    return Puppet(
        "Hoshi",
        parts,
        expressions_of(parts, ears(down=15, up=-5)),
        [
            *IDLE,
            ("tail", "rotate", 5.5, 3100, 0.1),
            ("ear_left", "rotate", 1.6, 2700, 0.4),
            ("ear_right", "rotate", -1.6, 2900, 0.1),
            ("pin", "rotate", 3.0, 5200, 0.0),
        ],
        VISEMES,
        {
            **motions(),
            "wag": (1600, {"tail.rotate": [[round(n / 8, 3), (0, 15, -12)[0 if n in (0, 8) else 1 + n % 2]] for n in range(9)],
                           "root.rotate": [[round(n / 8, 3), (0, 1.6, -1.6)[0 if n in (0, 8) else 1 + n % 2]] for n in range(9)]}),
        },
    )  # fmt: skip


def ears(*, down: float, up: float) -> dict[str, dict[str, dict[str, float | str]]]:
    """How far both ears hang in each mood, in degrees to the outside."""
    share = {"sad": 1.0, "shy": 0.85, "sleepy": 0.75, "angry": 0.6}
    turned = {mood: down * part for mood, part in share.items()} | {
        "surprised": up,
        "joy": up * 0.6,
    }
    return {
        mood: {"ear_left": {"rotate": -angle}, "ear_right": {"rotate": angle}}
        for mood, angle in turned.items()
    }


def nemu() -> Puppet:
    """The white moon rabbit with paint on her ear."""
    ink = RABBIT.ink

    def head(layer: Layer) -> None:
        faces.rabbit_head(layer)
        faces.rabbit_nose(layer)

    def body(layer: Layer) -> None:
        layer.shape(oval(352, 706, 34, 32), "#FFFFFF", "#E4DAF5", line=ink)
        torso(layer, "#FFFFFF", "#DCD0F0", ink, feet="#FFFFFF")
        apron = spline(
            both([(256, 560), (214, 566), (196, 610), (188, 676), (204, 716), (256, 724)])
        )
        layer.shape(apron, "#B9A6F2", "#8F7AD8", line=ink, width=5)
        layer.stroke([(214, 566), (196, 500)], ink, 5)
        layer.stroke([(298, 566), (316, 500)], ink, 5)
        layer.shape(
            spline([(228, 640), (284, 640), (278, 684), (234, 684)], steps=8),
            "#A391E6",
            "#8A76D2",
            line=ink,
            width=4,
        )
        for x, y, r, colour in (
            (226, 604, 10, "#FFC2D4"),
            (286, 616, 7, "#FFE08A"),
            (272, 704, 8, "#8FD0FF"),
        ):
            layer.fill(oval(x, y, r, r * 0.85), colour)

    def ribbon(layer: Layer) -> None:
        for points in (
            bent(((256, 478), 0.1), ((198, 450), 0.25), ((200, 512), 0.1)),
            bent(((256, 478), 0.1), ((312, 512), 0.25), ((314, 450), 0.1)),
        ):
            layer.shape(points, "#9C86E0", "#7460BE", line=ink, width=5)
        layer.shape(oval(256, 479, 13, 14), "#B7A4F0", "#8A76D2", line=ink, width=5)

    parts = [
        Part("root", "", (256, 772)),
        Part("body", "root", (256, 766), pictured(body)),
        *arms("#FFFFFF", "#E4DAF5", ink),
        Part("ribbon", "root", (256, 478), pictured(ribbon)),
        Part("head", "root", (256, 440)),
        Part("ear_left", "head", (178, 190), pictured(lambda layer: faces.rabbit_ear(layer, -1, is_painted=True))),
        Part("ear_right", "head", (322, 190), states={"up": pictured(lambda layer: faces.rabbit_ear(layer, 1)), "down": pictured(faces.rabbit_flop)}, state="down"),
        Part("skull", "head", (256, 300), pictured(head)),
        *face_parts(RABBIT),
        Part("paint", "head", (356, 394), pictured(faces.rabbit_paint)),
        Part("signs", "head", (256, 200), states=signs_by_mood(RABBIT)),
    ]  # fmt: skip
    own = ears(down=17, up=-3)
    for mood in ("surprised", "joy", "love"):
        own.setdefault(mood, {}).setdefault("ear_right", {})["state"] = "up"
    for mood in ("sad", "shy", "sleepy", "angry"):
        # The ear that hangs already hangs a little more, but not through her cheek.
        own[mood]["ear_right"]["rotate"] = 5
    return Puppet(
        "Nemu",
        parts,
        expressions_of(parts, own),
        [
            *IDLE,
            ("ear_left", "rotate", 2.4, 3300, 0.4),
            ("ear_right", "rotate", -2.0, 3700, 0.1),
            ("ribbon", "rotate", 1.4, 3800, 0.3),
        ],
        VISEMES,
        {
            **motions(),
            "hop": (1500, {
                "root.y": [[0, 0], [0.12, 8], [0.27, -48], [0.42, 6], [0.5, 8], [0.66, -48], [0.84, 6], [1, 0]],
                "root.scale_y": [[0, 1], [0.12, 0.95], [0.25, 1.03], [0.44, 0.95], [0.62, 1.03], [0.84, 0.96], [1, 1]],
                "ear_left.rotate": [[0, 0], [0.27, 9], [0.45, -8], [0.66, 9], [0.86, -6], [1, 0]],
                "ear_right.rotate": [[0, 0], [0.27, -9], [0.45, 8], [0.66, -9], [0.86, 6], [1, 0]],
            }),
        },
    )  # fmt: skip


def sumi() -> Puppet:
    """The plum owl with golden spectacles."""
    ink = OWL.ink

    def open_beak(layer: Layer, width: float, height: float, *, tongue: bool = True) -> None:
        shape = bent(
            ((256 - width, 368), 0), ((256 + width, 368), 0.12), ((256, 386 + height), 0.12)
        )
        inside = layer.shape(shape, "#8E2B43", "#6B1E36", line=ink, width=5)
        if tongue:
            layer.fill(
                oval(256, 384 + height * 0.62, width * 0.42, 4 + height * 0.16),
                "#FF8C9B",
                clip=inside,
            )
            layer.stroke([*shape, *shape[:2]], ink, 5)

    def smile(layer: Layer, lift: float, tilt: float = 0) -> None:
        for side in (-1, 1):
            x = 256 + side * 24
            layer.stroke(
                spline(
                    [
                        (x - side * 10, 388 + tilt * side),
                        (x, 391),
                        (x + side * 12, 388 - lift + tilt * side),
                    ],
                    closed=False,
                ),
                ink,
                5,
            )

    shapes = {
        "PP": lambda layer: layer.shape(bent(((242, 380), 0), ((270, 380), 0.3), ((256, 400), 0.3)), "#E8922E", "#C46F1C", line=ink, width=5),
        "FF": lambda layer: open_beak(layer, 16, 10, tongue=False),
        "DD": lambda layer: open_beak(layer, 21, 13),
        "SS": lambda layer: open_beak(layer, 27, 10, tongue=False),
        "E": lambda layer: open_beak(layer, 26, 22),
        "ih": lambda layer: open_beak(layer, 29, 15),
        "aa": lambda layer: open_beak(layer, 24, 38),
        "oh": lambda layer: open_beak(layer, 19, 29),
        "ou": lambda layer: open_beak(layer, 13, 19, tongue=False),
    }  # fmt: skip
    rest = {
        "neutral": lambda layer: smile(layer, 5),
        "joy": lambda layer: open_beak(layer, 25, 26),
        "sad": lambda layer: smile(layer, -9),
        "angry": lambda layer: smile(layer, -6),
        "surprised": lambda layer: open_beak(layer, 17, 30),
        "smug": lambda layer: smile(layer, 6, -4),
        "shy": lambda layer: smile(layer, -2),
        "sleepy": lambda layer: open_beak(layer, 13, 12, tongue=False),
        "love": lambda layer: open_beak(layer, 23, 22),
        "thinking": lambda layer: smile(layer, -1, 4),
    }  # fmt: skip

    def body(layer: Layer) -> None:
        for side in (-1, 1):
            for toe in (-1, 0, 1):
                layer.shape(
                    oval(256 + side * 46 + toe * 17, 762, 11, 15),
                    "#FFD36B",
                    "#E8922E",
                    line=ink,
                    width=4,
                )
        inside = layer.shape(TORSO, "#7C5597", "#4A3064", line=ink)
        layer.fill(oval(256, 640, 84, 120), "#E9D2EF", "#C7A3D6", clip=inside)
        for row in range(5):
            count = 3 + row % 2
            for n in range(count):
                at, y = 256 + (n - (count - 1) / 2) * 38, 556 + row * 36
                layer.stroke(
                    spline([(at - 13, y), (at, y + 13), (at + 13, y)], closed=False, steps=6),
                    "#A479BC",
                    5,
                )
        layer.fill(oval(256, 452, 120, 34), ink, clip=inside, blur=12, alpha=0.4)
        layer.stroke([*TORSO, *TORSO[:2]], ink, 6)

    def wing(layer: Layer, *, is_left: bool) -> None:
        turn = (lambda points: points) if is_left else mirrored
        shape = turn(
            spline([(186, 500), (148, 512), (112, 574), (96, 648), (112, 684), (132, 672), (146, 692), (164, 668), (180, 672),
                    (194, 620), (200, 540)])
        )  # fmt: skip
        layer.shape(shape, "#8A62A6", "#573976", line=ink)
        for points in (
            [(128, 628), (140, 656)], [(152, 618), (162, 650)], [(142, 574), (150, 600)], [(168, 566), (174, 592)],
        ):  # fmt: skip
            layer.stroke(turn(points), "#B58FCB", 5)

    def bow(layer: Layer) -> None:
        for points in (
            bent(((256, 474), 0.1), ((192, 444), 0.2), ((192, 508), 0.1)),
            bent(((256, 474), 0.1), ((320, 508), 0.2), ((320, 444), 0.1)),
        ):
            layer.shape(points, "#C8465E", "#8E2740", line=ink, width=5)
        layer.shape(oval(256, 475, 15, 17), "#E0607A", "#A8324C", line=ink, width=5)

    parts = [
        Part("root", "", (256, 772)),
        Part("body", "root", (256, 766), pictured(body)),
        Part("arm_left", "root", (182, 520), pictured(lambda layer: wing(layer, is_left=True))),
        Part("arm_right", "root", (330, 520), pictured(lambda layer: wing(layer, is_left=False))),
        Part("bow", "root", (256, 474), pictured(bow)),
        Part("head", "root", (256, 440)),
        Part("ear_left", "head", (150, 190), pictured(lambda layer: faces.owl_tuft(layer, -1))),
        Part("ear_right", "head", (362, 190), pictured(lambda layer: faces.owl_tuft(layer, 1))),
        Part("skull", "head", (256, 300), pictured(faces.owl_head)),
        Part("cheeks", "head", layer=cheeks(OWL)),
        Part("blush", "head", layer=blush_lines(OWL)),
        Part("eyes", "head", (256, OWL.eye_y), states=eyes_by_mood(OWL), state="neutral"),
        Part("brows", "head", (256, OWL.eye_y), states=brows_by_mood(OWL), state="neutral"),
        Part(
            "mouth", "head", (256, 372),
            states={name: pictured(draw) for name, draw in {**rest, **shapes}.items()}, state="neutral",
        ),
        Part("beak", "head", (256, 350), pictured(lambda layer: faces.owl_beak(layer, (256, 390)))),
        Part("spectacles", "head", (256, 302), pictured(faces.owl_spectacles)),
        Part("signs", "head", (256, 200), states=signs_by_mood(OWL)),
    ]  # fmt: skip
    tufts = ears(down=13, up=-6)
    tufts["angry"] = {"ear_left": {"rotate": 7}, "ear_right": {"rotate": -7}}
    tufts["smug"] = {"spectacles": {"y": 5, "rotate": -2}}
    tufts["surprised"]["spectacles"] = {"y": -6}
    return Puppet(
        "Sumi",
        parts,
        expressions_of(parts, tufts),
        [*IDLE, ("ear_left", "rotate", 1.4, 3300, 0.4), ("ear_right", "rotate", -1.4, 3700, 0.1)],
        FEW_VISEMES,
        {
            **motions(),
            "flap": (1400, {
                "arm_left.rotate": [[round(n / 8, 3), 0 if n in (0, 8) else (84 if n % 2 else 22)] for n in range(9)],
                "arm_right.rotate": [[round(n / 8, 3), 0 if n in (0, 8) else (-84 if n % 2 else -22)] for n in range(9)],
                "root.y": [[0, 0], [0.2, -20], [0.5, -34], [0.8, -20], [1, 0]],
            }),
        },
    )  # fmt: skip


LIGHTS = {"": faces.USUAL_LIGHT, **faces.LIGHTS}


def lit(layer: Layer, points: Sequence[Point], light: str, width: float | None = None) -> None:
    """Light on the dark screen: a shape, or a line of a width."""
    if width is None:
        layer.fill(points, light, blur=7, alpha=0.55)
        layer.fill(points, light)
        return
    layer.stroke(points, light, width)
    centre = [points[0], points[len(points) // 2], points[-1]]
    for x, y in centre:
        layer.fill(oval(x, y, width * 1.5, width * 1.5), light, blur=width * 0.9, alpha=0.3)


def screen_eye(layer: Layer, mood: str, side: int, light: str) -> None:
    """One eye of light."""
    x, y = 256 + side * 68, 280
    match mood:
        case "shut":
            lit(layer, [(x - 30, y + 4), (x + 30, y + 4)], light, 11)
        case "smug":
            lit(
                layer,
                [
                    (x - 34, y - 2),
                    (x + 34, y - 2),
                    *spline(
                        [
                            (x + 31, y + 10),
                            (x + 18, y + 27),
                            (x, y + 31),
                            (x - 18, y + 27),
                            (x - 31, y + 10),
                        ],
                        closed=False,
                    ),
                ],
                light,
            )
        case "sad":
            inner, outer = (x - side * 32, y - 30), (x + side * 34, y - 6)
            lit(
                layer,
                [
                    inner,
                    outer,
                    *spline(
                        [
                            (x + side * 30, y + 22),
                            (x + side * 12, y + 34),
                            (x - side * 14, y + 34),
                            (x - side * 32, y + 20),
                        ],
                        closed=False,
                    ),
                ],
                light,
            )
            if side > 0:
                tear, width = faces.robot_tear()
                lit(layer, tear, light, width)
        case _:
            for points, width in faces.robot_eye(mood, side):
                lit(layer, points, light, width)
            if mood in ("neutral", "shy", "thinking"):
                faces.robot_glint(layer, mood, side)


def screen_mouth(layer: Layer, name: str, light: str) -> None:
    """A mouth of light: of a mood, or in the middle of a word."""
    y = 348

    def line(*points: Point, width: float = 9) -> None:
        lit(layer, spline(list(points), closed=False), light, width)

    def round_box(width: float, height: float, top: float = y - 2) -> None:
        shape = spline([(256 - width, top + 3), (256 - width * 0.4, top), (256 + width * 0.4, top), (256 + width, top + 3),
                        (256 + width * 0.8, top + height * 0.75), (256, top + height), (256 - width * 0.8, top + height * 0.75)])  # fmt: skip
        lit(layer, shape, light)

    match name:
        case "PP":
            lit(layer, [(238, y + 8), (274, y + 8)], light, 13)
        case "FF":
            line((230, y + 2), (256, y + 8), (282, y + 2), width=11)
        case "DD":
            round_box(25, 18)
        case "SS":
            lit(layer, [(224, y + 2), (288, y + 2)], light, 6)
            lit(layer, [(224, y + 16), (288, y + 16)], light, 6)
        case "E":
            round_box(32, 28)
        case "ih":
            round_box(36, 19)
        case "aa":
            round_box(31, 44, y - 8)
        case "oh":
            lit(layer, oval(256, y + 14, 19, 22), light)
        case "ou":
            ring = oval(256, y + 12, 13, 14)
            lit(layer, [*ring, *ring[:2]], light, 8)
        case _:
            shape, width = faces.robot_mouth(name)
            lit(layer, shape, light, width)


def rivet() -> Puppet:
    """The small mint robot whose face is a screen."""
    ink = ROBOT.ink
    spoken = ("PP", "FF", "DD", "SS", "E", "ih", "aa", "oh", "ou")

    def light_of(mood: str) -> str:
        return LIGHTS.get(mood, LIGHTS[""])

    def antenna(layer: Layer) -> None:
        stem = spline([(256, 152), (258, 108), (264, 72)], closed=False)
        layer.stroke(stem, ink, 16)
        layer.stroke(stem, "#9FB9B8", 7)

    def lamp(colour: str) -> Layer:
        def draw(layer: Layer) -> None:
            layer.fill(oval(264, 58, 42, 42), colour, blur=14, alpha=0.6)
            layer.shape(oval(264, 60, 23, 23), colour, line=ink)
            layer.fill(oval(257, 52, 8, 7), "#FFFFFF", alpha=0.9)

        return pictured(draw)

    def blush(layer: Layer) -> None:
        for side in (-1, 1):
            for n in (-1, 0, 1):
                x = 256 + side * 88 + n * 13
                layer.stroke([(x + 5, 330), (x - 4, 344)], "#FF7FA6", 5)

    def body(layer: Layer) -> None:
        for side in (-1, 1):
            layer.shape(
                spline([(256 + side * 20, 716), (256 + side * 76, 716), (256 + side * 88, 764), (256 + side * 84, 780),
                        (256 + side * 18, 780), (256 + side * 14, 760)], steps=10),
                "#FFB14A", "#E5792B", line=ink,
            )  # fmt: skip
        layer.shape(
            [(218, 424), (294, 424), (290, 462), (222, 462)],
            "#6E8C90",
            "#4C6A70",
            line=ink,
            width=5,
        )
        shell = spline(
            both(
                [
                    (256, 452),
                    (194, 456),
                    (158, 486),
                    (146, 560),
                    (146, 650),
                    (160, 716),
                    (200, 738),
                    (256, 742),
                ]
            )
        )
        inside = layer.shape(shell, "#FBFFFD", "#A5D3C6", line=ink)
        layer.fill(oval(256, 452, 120, 26), ink, clip=inside, blur=10, alpha=0.3)
        layer.fill(oval(196, 520, 26, 60, 12), "#FFFFFF", clip=inside, blur=8, alpha=0.9)
        layer.fill(oval(256, 748, 130, 40), "#4E9488", clip=inside, blur=14, alpha=0.45)
        layer.stroke([*shell, *shell[:2]], ink, 6)
        plate = spline(
            [(206, 560), (306, 560), (312, 620), (306, 676), (206, 676), (200, 620)], steps=8
        )
        layer.shape(plate, "#E4F2EE", "#BFDCD5", line=ink, width=5)
        layer.stroke([(236, 586), (278, 586), (252, 652)], "#E5792B", 13)
        for x in (176, 336):
            layer.shape(oval(x, 506, 7, 7), "#DDE8E5", "#93AFAA", line=ink, width=3)

    def limb(layer: Layer, *, is_left: bool) -> None:
        turn = (lambda points: points) if is_left else mirrored
        joint = 168 if is_left else 512 - 168
        layer.stroke(turn(spline([(166, 520), (132, 572), (120, 628)], closed=False)), ink, 34)
        layer.stroke(
            turn(spline([(166, 520), (132, 572), (120, 628)], closed=False)), "#B9D3CE", 22
        )
        for x, y in ((148, 546), (133, 572), (124, 600)):
            a = 0.9
            layer.stroke(turn([(x - 10 * a, y - 6), (x + 10 * a, y + 6)]), "#6E8C90", 4)
        layer.shape(oval(joint, 518, 24, 24), "#FFB14A", "#E5792B", line=ink)
        hand = spline(
            [(96, 632), (110, 616), (138, 620), (148, 640), (144, 668), (128, 680), (104, 672)]
        )
        layer.shape(turn(hand), "#FFB14A", "#E5792B", line=ink)
        layer.stroke(turn([(112, 676), (114, 658)]), ink, 5)
        layer.stroke(turn([(130, 679), (130, 660)]), ink, 5)

    lamps = {
        "neutral": "#FFC53A", "angry": "#FF5A4F", "love": "#FF6F9C", "sad": "#6FA8FF", "sleepy": "#8C9AA8",
        "surprised": "#FFE14A", "shy": "#FF9FC0", "thinking": "#B79CFF", "joy": "#7BFFB0", "smug": "#FFC53A",
    }  # fmt: skip

    def eyes(mood: str, light: str) -> Layer:
        def draw(layer: Layer) -> None:
            for side in (-1, 1):
                screen_eye(layer, mood, side, light)

        return pictured(draw)

    def speaks(name: str, light: str) -> Layer:
        return pictured(lambda layer: screen_mouth(layer, name, light))

    eye_states = {mood: eyes(mood, light_of(mood)) for mood in MOODS} | {
        "shut" if not mood else f"shut.{mood}": eyes("shut", light)
        for mood, light in LIGHTS.items()
    }
    mouth_states = {mood: speaks(mood, light_of(mood)) for mood in MOODS} | {
        name if not mood else f"{name}.{mood}": speaks(name, light)
        for mood, light in LIGHTS.items()
        for name in spoken
    }
    parts = [
        Part("root", "", (256, 782)),
        Part("body", "root", (256, 776), pictured(body)),
        Part("arm_left", "root", (168, 518), pictured(lambda layer: limb(layer, is_left=True))),
        Part("arm_right", "root", (344, 518), pictured(lambda layer: limb(layer, is_left=False))),
        Part("head", "root", (256, 436)),
        Part("antenna", "head", (256, 150), pictured(antenna)),
        Part("lamp", "antenna", (264, 60), states={mood: lamp(colour) for mood, colour in lamps.items()}, state="neutral"),
        Part("ear_left", "head", (70, 296), pictured(lambda layer: faces.robot_ear(layer, -1))),
        Part("ear_right", "head", (442, 296), pictured(lambda layer: faces.robot_ear(layer, 1))),
        Part("skull", "head", (256, 300), pictured(faces.robot_head)),
        Part("eyes", "head", (256, 280), states=eye_states, state="neutral"),
        Part("blush", "head", layer=pictured(blush)),
        Part("mouth", "head", (256, 352), states=mouth_states, state="neutral"),
        Part("shine", "head", (256, 300), pictured(lambda layer: faces.robot_shine(layer, Mask(faces.SCREEN)))),
        Part("signs", "head", (256, 200), states=signs_by_mood(ROBOT, ("sleepy", "thinking", "surprised", "love"))),
    ]  # fmt: skip
    own: dict[str, dict[str, dict[str, float | str]]] = {
        mood: {"blush": {"opacity": 1.0 if mood in ("shy", "love", "joy") else 0.0}}
        for mood in MOODS
    }
    for mood, angle in {
        "sad": 20,
        "shy": 12,
        "sleepy": 26,
        "surprised": -12,
        "angry": -5,
        "thinking": 8,
    }.items():
        own[mood]["antenna"] = {"rotate": angle}
    return Puppet(
        "Rivet",
        parts,
        expressions_of(parts, own),
        [*IDLE, ("antenna", "rotate", 3.5, 2300, 0.2), ("lamp", "scale_x", 0.05, 1700, 0.0), ("lamp", "scale_y", 0.05, 1700, 0.0)],
        FEW_VISEMES,
        {
            **motions(),
            "spin": (1600, {
                "antenna.rotate": [[0, 0], [0.2, -34], [0.45, 34], [0.7, -24], [0.88, 12], [1, 0]],
                "head.rotate": [[0, 0], [0.25, -9], [0.5, 9], [0.75, -6], [1, 0]],
                "ear_left.scale_y": [[0, 1], [0.25, 1.16], [0.5, 0.9], [0.75, 1.1], [1, 1]],
                "ear_right.scale_y": [[0, 1], [0.25, 0.9], [0.5, 1.16], [0.75, 0.95], [1, 1]],
            }),
        },
        voices={mood: mood for mood in LIGHTS if mood},
    )  # fmt: skip


CAST: dict[str, Callable[[], Puppet]] = {
    "hoshi": hoshi,
    "nemu": nemu,
    "rivet": rivet,
    "sumi": sumi,
}

ALIASES = {
    "happy": "joy", "smile": "joy", "laugh": "joy", "excited": "joy", "cry": "sad", "crying": "sad", "mad": "angry", "anger": "angry",
    "shocked": "surprised", "surprise": "surprised", "proud": "smug", "smirk": "smug", "embarrassed": "shy", "blush": "shy",
    "tired": "sleepy", "heart": "love", "think": "thinking", "hello": "wave", "hi": "wave", "bye": "wave", "yes": "nod", "no": "shake",
    "bounce": "jump", "sway": "dance",
}  # fmt: skip


def save(name: str, puppet: Puppet, folder: Path) -> int:
    """Write the rig's folder; returns its size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.svg"), *folder.glob("rig.json")):
        old.unlink()
    total = 0

    parents = {part.name: part.parent for part in puppet.parts}

    def shown_y(part: Part, y: float) -> float:
        name = part.name
        while name and name != "head":
            name = parents[name]
        return y if name == "head" else NECK_Y + (y - NECK_Y) * SHORTER

    def keep(part: Part, layer: Layer, file: str) -> dict[str, object]:
        nonlocal total
        text = layer.svg()
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
        total += len(text.encode())
        x, y, w, h = layer.box()
        top, bottom = shown_y(part, y), shown_y(part, y + h)
        return {"file": file, "box": [x, round(top, 1), w, round(bottom - top, 1)]}

    parts: list[dict[str, object]] = []
    for part in puppet.parts:
        x, y = part.pivot
        entry: dict[str, object] = {
            "name": part.name,
            "pivot": [round(x, 1), round(shown_y(part, y), 1)],
        }
        if part.parent:
            entry["parent"] = part.parent
        if part.layer is not None:
            entry["image"] = keep(part, part.layer, f"{part.name}.svg")
        if part.states:
            entry["states"] = {
                state: keep(part, layer, f"{part.name}_{state.replace('.', '_')}.svg")
                for state, layer in part.states.items()
            }
            entry["state"] = part.state
        parts.append(entry)
    known = {*puppet.expressions, *puppet.motions}
    rig = {
        "format": 1,
        "title": puppet.title,
        "kind": "puppet",
        "expressions": list(puppet.expressions),
        "motions": [
            {"group": "gesture", "index": n, "name": motion, "duration_ms": length}
            for n, (motion, (length, _)) in enumerate(puppet.motions.items())
        ],
        "visemes": list(puppet.visemes),
        "aliases": {word: meant for word, meant in ALIASES.items() if meant in known},
        "author": "Luma",
        "licence": "GPL-3.0-or-later",
        "puppet": {
            "canvas": list(CANVAS),
            "parts": parts,
            "expressions": puppet.expressions,
            "mouth": {"part": "mouth", "visemes": puppet.visemes, "voices": puppet.voices},
            "blink": {
                "part": "eyes",
                "state": "shut",
                "every_ms": [2200, 5600],
                "ms": 150,
                "not": list(CLOSED_EYES),
            },
            "idle": [
                {"part": part, "what": what, "by": by, "period_ms": period, "phase": phase}
                for part, what, by, period, phase in puppet.idle
            ],
            "voice": {"head.y": -7, "head.scale_y": 0.012, "root.y": -2},
            "motions": {motion: tracks for motion, (_, tracks) in puppet.motions.items()},
        },
    }
    text = json.dumps(rig, ensure_ascii=False, separators=(",", ":")) + "\n"
    (folder / "rig.json").write_text(text, encoding="utf-8", newline="\n")
    print(f"{name}: {total + len(text):,} bytes, {len(list(folder.glob('*.svg')))} layers")
    return total + len(text)


def main() -> None:
    """Draw all, or those named."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    total = sum(save(name, CAST[name](), folder / name) for name in sys.argv[2:] or CAST)
    print(f"{total / 1e6:.2f} MB in {folder}")


if __name__ == "__main__":
    main()
