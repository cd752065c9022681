"""Draw the avatars of the built-in characters, every expression: python scripts/make_avatars.py [folder] [id …].

Everything is drawn three times as large on a 512 grid and shrunk, so edges are smooth; shapes are closed splines through
a few points. Lit from the upper left. The result is what lies in backend/chat/builtin/avatars.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from PIL import Image, ImageChops, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "backend" / "chat" / "builtin" / "avatars"
GRID = 512
SCALE = 3
COLOURS = 160  # palette of the saved files

EXPRESSIONS = (
    "neutral",
    "joy",
    "sad",
    "angry",
    "surprised",
    "smug",
    "shy",
    "sleepy",
    "love",
    "thinking",
)

Point = tuple[float, float]
Colour = tuple[int, int, int]


def rgb(code: str, alpha: int | None = None) -> tuple[int, ...]:
    """A colour of "#RRGGBB"."""
    values = tuple(int(code[n : n + 2], 16) for n in (1, 3, 5))
    return values if alpha is None else (*values, alpha)


def spline(points: Sequence[Point], *, closed: bool = True, steps: int = 14) -> list[Point]:
    """A smooth curve through the points (Catmull-Rom)."""
    n = len(points)
    curve: list[Point] = []
    for i in range(n if closed else n - 1):
        if closed:
            p0, p1, p2, p3 = (points[(i + k) % n] for k in (-1, 0, 1, 2))
        else:
            p0, p1, p2, p3 = (points[min(max(i + k, 0), n - 1)] for k in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            curve.append(
                tuple(  # type: ignore[arg-type]  # two numbers
                    0.5
                    * (
                        2 * b
                        + (c - a) * t
                        + (2 * a - 5 * b + 4 * c - d) * t * t
                        + (3 * b - a - 3 * c + d) * t**3
                    )
                    for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
                )
            )
    if not closed:
        curve.append(points[-1])
    return curve


def bent(*knots: tuple[Point, float]) -> list[Point]:
    """A closed shape with sharp corners and bent sides: each corner with how far the side after it bulges."""
    curve: list[Point] = []
    for (start, bulge), (end, _) in zip(knots, (*knots[1:], knots[0]), strict=True):
        dx, dy = end[0] - start[0], end[1] - start[1]
        control = ((start[0] + end[0]) / 2 + dy * bulge, (start[1] + end[1]) / 2 - dx * bulge)
        for step in range(16):
            t = step / 16
            curve.append(
                (
                    (1 - t) ** 2 * start[0] + 2 * t * (1 - t) * control[0] + t * t * end[0],
                    (1 - t) ** 2 * start[1] + 2 * t * (1 - t) * control[1] + t * t * end[1],
                )
            )
    return curve


def oval(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> list[Point]:
    """An ellipse, turned by degrees."""
    angle = math.radians(turn)
    return [
        (
            x + rx * math.cos(a) * math.cos(angle) - ry * math.sin(a) * math.sin(angle),
            y + rx * math.cos(a) * math.sin(angle) + ry * math.sin(a) * math.cos(angle),
        )
        for a in (math.tau * n / 72 for n in range(72))
    ]


def mirrored(points: Sequence[Point]) -> list[Point]:
    """The other side of the face."""
    return [(GRID - x, y) for x, y in points]


def both(left_half: Sequence[Point]) -> list[Point]:
    """A symmetric outline from its left half, top to bottom."""
    return [*left_half, *reversed([(GRID - x, y) for x, y in left_half if abs(x - 256) > 0.5])]


def heart(x: float, y: float, size: float) -> list[Point]:
    """A heart around (x, y)."""
    return [
        (
            x + size * math.sin(t) ** 3,
            y
            - size
            * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))
            / 15.5,
        )
        for t in (math.tau * n / 60 for n in range(60))
    ]


def star(x: float, y: float, size: float, points: int = 5, inner: float = 0.46) -> list[Point]:
    """A star around (x, y)."""
    return [
        (
            x + math.sin(math.pi * n / points) * size * (1 if n % 2 == 0 else inner),
            y - math.cos(math.pi * n / points) * size * (1 if n % 2 == 0 else inner),
        )
        for n in range(points * 2)
    ]


M = TypeVar("M")


class Canvas(Protocol[M]):
    """What a face is drawn on: pixels here, SVG in make_puppets.py; M is what it gives back of a shape, to clip by."""

    def mask(self, shape: Sequence[Point], clip: M | None = None) -> M:
        """Inside the shape (and inside ``clip``)."""
        ...

    def fill(
        self,
        shape: Sequence[Point],
        colour: str,
        to: str | None = None,
        *,
        clip: M | None = None,
        blur: float = 0,
        alpha: float = 1.0,
    ) -> M:
        """Paint a shape, from ``colour`` at its top to ``to`` at its bottom; returns its mask."""
        ...

    def stroke(
        self, points: Sequence[Point], colour: str, width: float, *, clip: M | None = None
    ) -> None:
        """A line with round ends."""
        ...

    def shape(
        self,
        points: Sequence[Point],
        colour: str,
        to: str | None = None,
        *,
        line: str | None = None,
        width: float = 6,
    ) -> M:
        """A filled shape with an outline; returns its mask."""
        ...


class Art:
    """A picture being painted, in grid coordinates."""

    def __init__(self) -> None:
        self.side = GRID * SCALE
        self.image = Image.new("RGB", (self.side, self.side))

    def mask(self, shape: Sequence[Point], clip: Image.Image | None = None) -> Image.Image:
        """White inside the shape (and inside ``clip``)."""
        mask = Image.new("L", (self.side, self.side), 0)
        ImageDraw.Draw(mask).polygon([(x * SCALE, y * SCALE) for x, y in shape], fill=255)
        return mask if clip is None else ImageChops.multiply(mask, clip)

    def gradient(self, top: str, bottom: str, y0: float, y1: float) -> Image.Image:
        """A colour running from ``top`` at y0 to ``bottom`` at y1."""
        column = Image.new("RGB", (1, self.side))
        a, b = rgb(top), rgb(bottom)
        for y in range(self.side):
            t = min(1.0, max(0.0, (y / SCALE - y0) / (y1 - y0)))
            column.putpixel(
                (0, y), tuple(round(p + (q - p) * t) for p, q in zip(a, b, strict=True))
            )
        return column.resize((self.side, self.side))

    def fill(
        self,
        shape: Sequence[Point],
        colour: str,
        to: str | None = None,
        *,
        clip: Image.Image | None = None,
        blur: float = 0,
        alpha: float = 1.0,
    ) -> Image.Image:
        """Paint a shape, from ``colour`` at its top to ``to`` at its bottom; returns its mask."""
        mask = self.mask(shape)
        soft = mask
        if blur:
            soft = self.blurred(soft, blur)
        if alpha < 1:
            soft = soft.point([round(v * alpha) for v in range(256)])
        if clip is not None:
            soft = ImageChops.multiply(soft, clip)
        ys = [y for _, y in shape]
        paint = (
            self.gradient(colour, to, min(ys), max(ys))
            if to
            else Image.new("RGB", (self.side, self.side), rgb(colour))
        )
        self.image.paste(paint, (0, 0), soft)
        return mask

    def blurred(self, mask: Image.Image, blur: float) -> Image.Image:
        # A quarter of the size blurs sixteen times as fast and looks the same.
        small = mask.resize((self.side // 4, self.side // 4), Image.Resampling.BOX)
        small = small.filter(ImageFilter.GaussianBlur(blur * SCALE / 4))
        return small.resize((self.side, self.side), Image.Resampling.BILINEAR)

    def stroke(
        self, points: Sequence[Point], colour: str, width: float, *, clip: Image.Image | None = None
    ) -> None:
        """A line with round ends."""
        mask = Image.new("L", (self.side, self.side), 0)
        draw = ImageDraw.Draw(mask)
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        draw.line(scaled, fill=255, width=round(width * SCALE), joint="curve")
        radius = width * SCALE / 2
        for x, y in (scaled[0], scaled[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        if clip is not None:
            mask = ImageChops.multiply(mask, clip)
        self.image.paste(Image.new("RGB", mask.size, rgb(colour)), (0, 0), mask)

    def shape(
        self,
        points: Sequence[Point],
        colour: str,
        to: str | None = None,
        *,
        line: str | None = None,
        width: float = 6,
    ) -> Image.Image:
        """A filled shape with an outline; returns its mask."""
        closed = [*points, points[0], points[1]]
        mask = self.fill(points, colour, to)
        if line:
            self.stroke(closed, line, width)
        return mask

    def saved(self) -> Image.Image:
        """The picture at its final size, few colours."""
        small = self.image.resize((GRID, GRID), Image.Resampling.LANCZOS)
        return small.quantize(
            COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.FLOYDSTEINBERG
        )


# --- faces --------------------------------------------------------------------------------------------------------


class Look:
    """Where and in which colours a face is drawn."""

    def __init__(
        self,
        *,
        eye_x: float,
        eye_y: float,
        iris: tuple[str, str],
        ink: str,
        blush: str,
        mouth_y: float,
        rx: float = 36,
        ry: float = 44,
        skin: str = "#FFFFFF",
        sleepy: float = 0.0,
    ) -> None:
        self.eye_x, self.eye_y, self.iris, self.ink, self.blush = eye_x, eye_y, iris, ink, blush
        self.mouth_y, self.rx, self.ry, self.skin, self.sleepy = mouth_y, rx, ry, skin, sleepy


def eyes(art: Canvas[M], look: Look, mood: str) -> None:
    """Both eyes and brows."""
    for side in (-1, 1):
        eye(art, look, mood, side)
        brow(art, look, mood, side)


def eye(art: Canvas[M], look: Look, mood: str, side: int) -> None:
    """One eye, open or not."""
    x, y = 256 + side * look.eye_x, look.eye_y
    if mood == "joy":
        arch = [
            (x - 34, y + 14),
            (x - 20, y - 12),
            (x, y - 20),
            (x + 20, y - 12),
            (x + 34, y + 14),
        ]
        art.stroke(spline(arch, closed=False), look.ink, 11)
    elif mood == "sleepy":
        arch = [
            (x - 34, y + 6),
            (x - 18, y + 21),
            (x, y + 25),
            (x + 18, y + 21),
            (x + 34, y + 6),
        ]
        art.stroke(spline(arch, closed=False), look.ink, 10)
        for lash in (-1, 0, 1):
            lx = x + side * 14 + lash * 13
            art.stroke(
                [(lx, y + 22 - abs(lash) * 3), (lx + side * 5, y + 33 - abs(lash) * 3)],
                look.ink,
                5,
            )
    elif mood == "love":
        art.fill(heart(x, y, 40), "#FF6F91", "#E2275A")
        art.stroke([*heart(x, y, 40), *heart(x, y, 40)[:2]], look.ink, 5)
        art.fill(oval(x - 16, y - 14, 8, 6, -30), "#FFFFFF", alpha=0.9)
    else:
        open_eye(art, look, mood, side)


def open_eye(art: Canvas[M], look: Look, mood: str, side: int) -> None:
    """One open eye: dark above, bright below, two lights."""
    x, y = 256 + side * look.eye_x, look.eye_y
    rx, ry = look.rx, look.ry
    gaze = {"shy": (-9.0, 7.0), "thinking": (7.0, -9.0), "smug": (8.0, 0.0)}.get(mood, (0.0, 0.0))
    if mood == "surprised":
        white = oval(x, y, rx * 1.12, ry * 1.12)
        inside = art.fill(white, "#FFFFFF", "#E9EEF8")
        art.stroke([*white, *white[:2]], look.ink, 7)
        art.fill(oval(x, y, rx * 0.5, ry * 0.5), look.iris[0], look.iris[1], clip=inside)
        art.fill(oval(x, y, rx * 0.24, ry * 0.24), look.ink)
        art.fill(oval(x - 7, y - 9, 6, 7), "#FFFFFF")
        return
    shape = spline(
        [
            (x - rx, y + 2), (x - rx * 0.78, y - ry * 0.72), (x, y - ry), (x + rx * 0.78, y - ry * 0.72),
            (x + rx, y + 2), (x + rx * 0.72, y + ry * 0.74), (x, y + ry), (x - rx * 0.72, y + ry * 0.74),
        ]
    )  # fmt: skip
    inside = art.mask(shape)
    art.fill(shape, "#FFFFFF", "#DDE5F2")
    ix, iy = x + gaze[0] - side * 3, y + gaze[1] + 1
    iris = oval(ix, iy, rx * 0.9, ry * 0.96)
    art.fill(iris, look.iris[0], look.iris[1], clip=inside)
    art.fill(
        oval(ix, iy + ry * 0.5, rx * 0.62, ry * 0.36), "#FFFFFF", clip=inside, blur=6, alpha=0.45
    )
    art.fill(oval(ix, iy + 1, rx * 0.4, ry * 0.48), look.ink, clip=inside)
    art.fill(oval(x, y - ry * 0.95, rx * 1.1, ry * 0.55), look.ink, clip=inside, blur=5, alpha=0.55)
    lid = {"smug": 0.46, "shy": 0.2, "angry": 0.22, "sad": 0.16, "thinking": 0.1}.get(mood, 0.0)
    lid = max(lid, look.sleepy if mood in ("neutral", "thinking", "sad", "shy") else 0)
    top = y - ry + lid * 2 * ry
    slant = {"angry": 16, "sad": -13, "shy": -4}.get(mood, 0) * side
    # A hard mood has a straight lid, a soft one a round lid that falls to the outer side.
    round_lid = 0 if mood in ("angry", "smug") else 9
    fall = 0 if mood in ("angry", "smug") else 5 * side
    lid_line = spline(
        [
            (x - rx - 4, top + slant * 0.9 + round_lid - fall),
            (x, top - round_lid),
            (x + rx + 4, top - slant * 0.9 + round_lid + fall),
        ],
        closed=False,
    )
    if lid:
        art.fill(
            [(x - rx * 1.6, y - ry * 1.8), *lid_line, (x + rx * 1.6, y - ry * 1.8)],
            look.skin,
            clip=inside,
        )
    art.fill(
        oval(ix - rx * 0.34, max(iy - ry * 0.38, top + 14), rx * 0.3, ry * 0.27),
        "#FFFFFF",
        clip=inside,
    )
    art.fill(
        oval(ix + rx * 0.36, iy + ry * 0.4, rx * 0.15, ry * 0.14), "#FFFFFF", clip=inside, alpha=0.9
    )
    if mood == "sad":
        art.fill(
            oval(ix + rx * 0.1, iy + ry * 0.66, rx * 0.42, ry * 0.14),
            "#FFFFFF",
            clip=inside,
            alpha=0.8,
        )
    edge = art.mask(oval(x, y, rx + 9, ry + 9))
    if lid:
        art.stroke(lid_line, look.ink, 10, clip=edge)
        lower = [p for p in shape if p[1] > top]
        art.stroke(sorted(lower, key=lambda p: math.atan2(p[0] - x, p[1] - y)), look.ink, 4)
    else:
        upper = [
            (x - rx - 3, y + 6),
            (x - rx * 0.8, y - ry * 0.76),
            (x, y - ry - 3),
            (x + rx * 0.8, y - ry * 0.76),
            (x + rx + 3, y + 6),
        ]
        art.stroke(spline(upper, closed=False), look.ink, 10)
        flick = (x + side * (rx + 1), y - ry * 0.3)
        art.stroke([flick, (flick[0] + side * 11, flick[1] - 9)], look.ink, 7)
        lower = [(x - rx * 0.62, y + ry * 0.86), (x, y + ry + 1), (x + rx * 0.62, y + ry * 0.86)]
        art.stroke(spline(lower, closed=False), look.ink, 4)


def brow(art: Canvas[M], look: Look, mood: str, side: int) -> None:
    """One brow; inner end first."""
    x, y = 256 + side * look.eye_x, look.eye_y - look.ry - 20
    inner, outer = x - side * 24, x + side * 26
    lift = {
        "angry": (20, -6), "sad": (-14, 8), "surprised": (-14, -12), "shy": (-9, 4), "joy": (-3, -2), "love": (-5, -2),
        "sleepy": (6, 8), "smug": (10, 2) if side < 0 else (-8, -13), "thinking": (8, 2) if side > 0 else (-6, -14),
    }.get(mood, (0, 0))  # fmt: skip
    middle = (x + side * 2, y - 9 + (lift[0] + lift[1]) / 2)
    art.stroke(
        spline([(inner, y + lift[0]), middle, (outer, y + lift[1])], closed=False, steps=8),
        look.ink,
        7,
    )


def mouth(art: Canvas[M], look: Look, mood: str) -> None:
    """A small animal's mouth."""
    x, y, ink = 256.0, look.mouth_y, look.ink
    if mood in ("joy", "love"):
        shape = spline(
            [
                (x - 34, y - 4),
                (x, y + 3),
                (x + 34, y - 4),
                (x + 25, y + 27),
                (x, y + 38),
                (x - 25, y + 27),
            ]
        )
        inside = art.shape(shape, "#8E2B43", "#5F1830", line=ink, width=6)
        art.fill(oval(x, y + 38, 23, 17), "#FF8C9B", clip=inside)
        art.stroke(shape + shape[:1], ink, 6)
    elif mood == "surprised":
        art.shape(oval(x, y + 14, 13, 18), "#7A2339", "#5F1830", line=ink, width=6)
    elif mood in ("sad", "angry"):
        art.stroke(
            spline(
                [(x - 20, y + 17), (x - 8, y + 7), (x + 8, y + 7), (x + 20, y + 17)], closed=False
            ),
            ink,
            7,
        )
    elif mood == "smug":
        art.stroke(
            spline(
                [(x - 22, y + 6), (x - 4, y + 13), (x + 20, y + 5), (x + 31, y - 9)], closed=False
            ),
            ink,
            7,
        )
        art.fill([(x + 9, y + 11), (x + 21, y + 6), (x + 17, y + 19)], "#FFFFFF")
    elif mood == "shy":
        wave = [(x - 22, y + 10), (x - 11, y + 4), (x, y + 11), (x + 11, y + 4), (x + 22, y + 10)]
        art.stroke(spline(wave, closed=False), ink, 6)
    elif mood == "sleepy":
        art.shape(oval(x + 4, y + 12, 9, 8), "#7A2339", line=ink, width=5)
    elif mood == "thinking":
        art.stroke(spline([(x - 14, y + 9), (x, y + 6), (x + 17, y + 10)], closed=False), ink, 7)
    else:
        curve = [(x - 27, y + 1), (x - 15, y + 13), (x, y + 2), (x + 15, y + 13), (x + 27, y + 1)]
        art.stroke(spline(curve, closed=False), ink, 6)


def blush(art: Canvas[M], look: Look, mood: str) -> None:
    """Warm cheeks, more of it when there is a reason."""
    strength = {"shy": 0.85, "love": 0.8, "joy": 0.6, "sad": 0.3, "angry": 0.5}.get(mood, 0.35)
    for side in (-1, 1):
        x, y = 256 + side * (look.eye_x + 34), look.eye_y + look.ry + 20
        art.fill(oval(x, y, 33, 17), look.blush, blur=9, alpha=strength)
        if mood in ("shy", "love"):
            for n in (-1, 0, 1):
                art.stroke([(x + n * 13 + 5, y - 7), (x + n * 13 - 4, y + 7)], "#E2506E", 4)


def signs(art: Canvas[M], look: Look, mood: str, *, tear: str = "#9FDBFF") -> None:
    """What comics add: tears, sweat, a vein, sleep, a question."""
    if mood == "sad":
        x, y = 256 + look.eye_x + 16, look.eye_y + look.ry + 16
        drop = bent(((x, y - 24), 0.12), ((x + 15, y + 10), 0.65), ((x - 15, y + 10), 0.12))
        art.shape(drop, "#D9F3FF", tear, line="#4B8FC4", width=4)
    elif mood == "angry":
        cx, cy = 420, 118
        for turn in range(4):
            a = math.radians(turn * 90 + 45)
            px, py = cx + math.cos(a) * 15, cy + math.sin(a) * 15
            arc = [
                (px + math.cos(a + d) * 19, py + math.sin(a + d) * 19)
                for d in (-0.95, -0.5, 0, 0.5, 0.95)
            ]
            art.stroke(
                spline([(2 * px - qx, 2 * py - qy) for qx, qy in arc], closed=False), "#FF4B4B", 10
            )
    elif mood == "shy":
        x, y = 408.0, 196.0
        drop = bent(((x, y - 30), 0.1), ((x + 17, y + 10), 0.65), ((x - 17, y + 10), 0.1))
        art.shape(drop, "#EAF8FF", tear, line="#4B8FC4", width=4)
    elif mood == "sleepy":
        for n, (x, y, size) in enumerate(((380, 150, 30), (426, 100, 42))):
            z = [
                (x - size / 2, y - size / 2),
                (x + size / 2, y - size / 2),
                (x - size / 2, y + size / 2),
                (x + size / 2, y + size / 2),
            ]
            art.stroke(z, "#1B2140", 15 - n)
            art.stroke(z, "#FFFFFF", 8)
    elif mood == "surprised":
        for angle in (-118, -90, -62):
            a = math.radians(angle)
            art.stroke(
                [(256 + math.cos(a) * 222, 286 + math.sin(a) * 222), (256 + math.cos(a) * 254, 286 + math.sin(a) * 254)],
                "#FFE27A", 11,
            )  # fmt: skip
    elif mood == "thinking":
        for x, y, r in ((388, 158, 8), (412, 128, 12), (446, 88, 20)):
            art.shape(oval(x, y, r, r), "#FFFFFF", "#DCE6F5", line="#1B2140", width=4)
    elif mood == "love":
        for x, y, size in ((92, 120, 22), (430, 92, 28), (452, 168, 14)):
            art.shape(heart(x, y, size), "#FF8FAB", "#F0436F", line="#FFFFFF", width=4)


def glow(art: Canvas[M], x: float, y: float, r: float, colour: str, alpha: float = 0.6) -> None:
    """Soft light."""
    art.fill(oval(x, y, r, r), colour, blur=r * 0.45, alpha=alpha)


# --- the four -----------------------------------------------------------------------------------------------------

FRAME: list[Point] = [(0, 0), (GRID, 0), (GRID, GRID), (0, GRID)]


def hoshi(mood: str) -> Art:
    """A copper star fox before the night sky."""
    art = Art()
    ink = "#3A1C2E"
    art.fill(FRAME, "#131A45", "#2F6FA8")
    glow(art, 256, 330, 240, "#5AB8E8", 0.45)
    for x, y, s in (
        (46, 92, 9),
        (88, 200, 6),
        (470, 250, 8),
        (300, 34, 8),
        (208, 62, 6),
        (478, 60, 10),
        (28, 300, 7),
        (486, 372, 6),
    ):
        art.fill(star(x, y, s, 4, 0.3), "#FFF3C4")
    tail = spline(
        [(330, 520), (420, 470), (470, 380), (452, 300), (500, 270), (540, 360), (520, 520)]
    )
    inside = art.shape(tail, "#F59A4A", "#D9662B", line=ink)
    art.fill(oval(494, 286, 62, 52, 30), "#FFF6E8", clip=inside)
    art.stroke([*tail, tail[0]], ink, 6)
    droop = {"sad": 22, "shy": 18, "sleepy": 16, "angry": 12}.get(
        mood, -4 if mood == "surprised" else 0
    )
    ear = bent(((104, 268), 0.09), ((88 - droop, 44 + droop * 1.7), 0.1), ((248, 152), 0))
    for points in (ear, mirrored(ear)):
        inside = art.shape(points, "#F7A653", "#E0712F", line=ink)
        tip = (
            (88 - droop, 44 + droop * 1.7)
            if points is ear
            else (GRID - 88 + droop, 44 + droop * 1.7)
        )
        art.fill(oval(*tip, 70, 62), "#4A2338", clip=inside)
        art.stroke([*points, points[0]], ink, 6)
    inner = bent(((136, 236), 0.07), ((116 - droop * 0.6, 112 + droop), 0.07), ((212, 164), 0))
    for points in (inner, mirrored(inner)):
        art.fill(points, "#FFC7B0", "#E98C7E")
    scarf = spline(
        [(96, 540), (116, 462), (180, 430), (256, 440), (332, 430), (396, 462), (416, 540)]
    )
    inside = art.shape(scarf, "#35479B", "#202C6B", line=ink)
    art.fill(oval(256, 420, 140, 40), "#10153A", clip=inside, blur=10, alpha=0.5)
    left = [
        (256, 126),
        (190, 134),
        (124, 172),
        (92, 238),
        (84, 300),
        (40, 356),
        (92, 372),
        (82, 404),
        (136, 412),
        (196, 446),
        (256, 458),
    ]
    head = spline(both(left), steps=10)
    inside = art.shape(head, "#FBB463", "#E87A35", line=ink, width=7)
    glow_mask = inside
    cream = spline(
        both(
            [
                (256, 340),
                (214, 318),
                (176, 352),
                (112, 336),
                (60, 360),
                (92, 376),
                (84, 406),
                (140, 416),
                (196, 450),
                (256, 464),
            ]
        ),
        steps=10,
    )
    art.fill(cream, "#FFF8EC", "#FBE3CB", clip=glow_mask)
    art.fill(
        bent(((256, 122), 0.1), ((288, 224), 0.12), ((256, 262), 0.12), ((224, 224), 0.1)),
        "#FFE9C9",
        clip=glow_mask,
        alpha=0.9,
    )
    art.fill(oval(170, 190, 70, 36, -28), "#FFE0A8", clip=glow_mask, blur=16, alpha=0.6)
    art.stroke([*head, head[0], head[1]], ink, 7)
    tuft = bent(
        ((214, 140), 0.2),
        ((236, 84), -0.16),
        ((256, 120), 0.2),
        ((280, 72), -0.1),
        ((300, 140), 0.12),
    )
    art.shape(tuft, "#FFC67E", "#F59A4A", line=ink)
    art.fill(oval(257, 146, 46, 14), "#FAB05F")
    look = Look(
        eye_x=84,
        eye_y=296,
        iris=("#1C3E8F", "#4FD1FF"),
        ink=ink,
        blush="#FF7F6B",
        mouth_y=394,
        rx=39,
        ry=47,
        skin="#F49A4C",
    )
    blush(art, look, mood)
    eyes(art, look, mood)
    art.shape(
        spline([(238, 364), (256, 358), (274, 364), (266, 378), (256, 383), (246, 378)]),
        "#5A2A3E",
        ink,
        line=ink,
        width=3,
    )
    art.fill(oval(250, 365, 6, 3), "#C78FA0")
    mouth(art, look, mood)
    pin = star(382, 182, 34)
    art.shape(pin, "#FFE98A", "#FFC02E", line=ink, width=5)
    art.shape(star(256, 484, 26), "#FFE98A", "#FFC02E", line=ink, width=4)
    signs(art, look, mood)
    return art


def sumi(mood: str) -> Art:
    """A plum owl with golden spectacles in a lamplit library."""
    art = Art()
    ink = "#2A1836"
    art.fill(FRAME, "#3A2450", "#7A4A55")
    for shelf in range(3):
        y = 60 + shelf * 150
        for n in range(12):
            x = n * 46 - (shelf * 19) % 46
            h = 76 + (n * 37 + shelf * 53) % 34
            colour = ("#5C3A6B", "#7C4A5E", "#4A3B70", "#8A5A4A", "#5A4A6A")[(n * 3 + shelf) % 5]
            art.fill(
                [(x, y + 110 - h), (x + 34, y + 110 - h), (x + 34, y + 110), (x, y + 110)], colour
            )
            art.fill(
                [
                    (x + 6, y + 124 - h),
                    (x + 28, y + 124 - h),
                    (x + 28, y + 128 - h),
                    (x + 6, y + 128 - h),
                ],
                "#D9A866",
            )
        art.fill([(0, y + 110), (GRID, y + 110), (GRID, y + 122), (0, y + 122)], "#2E1B3E")
    art.fill(FRAME, "#2B1840", alpha=0.35)
    glow(art, 256, 250, 250, "#FFC873", 0.5)
    body = spline([(256, 380), (120, 410), (70, 540), (442, 540), (392, 410)])
    inside = art.shape(body, "#6E4A86", "#3E2858", line=ink)
    droop = {"sad": 26, "shy": 20, "sleepy": 22}.get(
        mood, -12 if mood in ("surprised", "angry") else 0
    )
    tuft = bent(((92, 238), 0.1), ((64, 52 + droop), -0.05), ((256, 150), 0.1))
    for points in (tuft, mirrored(tuft)):
        art.shape(points, "#7C5597", "#5A3A78", line=ink)
    feather = bent(((118, 190), 0.12), ((84, 86 + droop), -0.05), ((196, 150), 0.1))
    for points in (feather, mirrored(feather)):
        art.fill(points, "#C9A2DB", "#8D64AB")
    left = [
        (256, 118),
        (176, 126),
        (104, 176),
        (70, 262),
        (78, 350),
        (134, 422),
        (196, 450),
        (256, 458),
    ]
    head = spline(both(left))
    inside = art.shape(head, "#8A62A6", "#573976", line=ink, width=7)
    for side in (-1, 1):
        disc = oval(256 + side * 84, 298, 112, 118)
        art.fill(disc, "#F6E6F6", "#D9B9DF", clip=inside)
        art.stroke([*disc, disc[0]], "#A97FC0", 5, clip=inside)
    for side in (-1, 1):
        art.fill(oval(256 + side * 84, 298, 92, 98), "#FFF7FB", "#EAD2EC", clip=inside)
    art.fill(
        bent(((256, 128), 0.1), ((300, 216), -0.06), ((256, 318), -0.06), ((212, 216), 0.1)),
        "#9C75B6",
        "#7A5496",
        clip=inside,
    )
    for x, y in ((228, 164), (284, 164), (256, 186), (240, 210), (272, 210), (256, 232)):
        art.stroke(
            spline([(x - 9, y), (x, y + 8), (x + 9, y)], closed=False, steps=6), "#E4CBEF", 4
        )
    art.fill(oval(150, 172, 60, 30, -30), "#D3B4E3", clip=inside, blur=14, alpha=0.6)
    art.stroke([*head, head[0], head[1]], ink, 7)
    for row, count in ((478, 4), (504, 5)):
        for n in range(count):
            at = 256 + (n - (count - 1) / 2) * 46
            art.stroke(
                spline([(at - 15, row), (at, row + 15), (at + 15, row)], closed=False, steps=6),
                "#B58FCB",
                5,
            )
    look = Look(
        eye_x=84,
        eye_y=300,
        iris=("#7A3E05", "#FFC641"),
        ink=ink,
        blush="#FF9AA8",
        mouth_y=376,
        rx=44,
        ry=50,
        skin="#CDAADA",
        sleepy=0.1,
    )
    blush(art, look, mood)
    eyes(art, look, mood)
    open_beak = {"joy": 22, "love": 20, "surprised": 26, "sleepy": 10}.get(mood, 0)
    if open_beak:
        art.shape(
            bent(((234, 372), 0), ((278, 372), 0.1), ((256, 400 + open_beak), 0.1)),
            "#8E2B43",
            line=ink,
            width=5,
        )
        art.fill(oval(256, 388 + open_beak * 0.4, 10, 6), "#FF8C9B")
    tilt = {"smug": 7, "thinking": -5}.get(mood, 0)
    beak = bent(((228, 348), 0.16), ((284, 348), 0.12), ((256 + tilt, 398 - open_beak * 0.5), 0.12))
    art.shape(beak, "#FFD36B", "#E8922E", line=ink, width=6)
    art.fill(oval(248, 358, 9, 4), "#FFF3CE", alpha=0.9)
    for side in (-1, 1):
        ring = oval(256 + side * 84, 302, 80, 80)
        art.stroke([*ring, *ring[:2]], "#5B3708", 11)
        art.stroke([*ring, *ring[:2]], "#F2BE4B", 6)
        art.stroke(
            spline(
                [
                    (256 + side * 84 - 54, 262),
                    (256 + side * 84 - 40, 244),
                    (256 + side * 84 - 20, 234),
                ],
                closed=False,
            ),
            "#FFFFFF",
            6,
        )
    art.stroke(
        spline(
            [(334 - 156, 300), (240, 288), (256, 284), (272, 288), (GRID - 334 + 156, 300)][1:4],
            closed=False,
        ),
        "#F2BE4B",
        8,
    )
    bow = [
        bent(((256, 474), 0.1), ((196, 446), 0.2), ((196, 504), 0.1)),
        bent(((256, 474), 0.1), ((316, 504), 0.2), ((316, 446), 0.1)),
    ]
    for points in bow:
        art.shape(points, "#C8465E", "#8E2740", line=ink, width=5)
    art.shape(oval(256, 474, 15, 16), "#E0607A", "#A8324C", line=ink, width=5)
    signs(art, look, mood)
    return art


def nemu(mood: str) -> Art:
    """A white moon rabbit with paint on her ear, before a lilac dusk."""
    art = Art()
    ink = "#40305C"
    art.fill(FRAME, "#6C5BA8", "#F3B2C6")
    glow(art, 256, 250, 235, "#FFF1D0", 0.55)
    art.fill(oval(256, 252, 214, 214), "#FFF4D8", "#FFE2C4", alpha=0.55)
    for x, y, r in ((120, 150, 22), (404, 330, 30), (150, 390, 16), (388, 150, 14)):
        art.fill(oval(x, y, r, r * 0.9), "#F3D3B4", alpha=0.45)
    for x, y, s in ((40, 60, 8), (470, 50, 9), (30, 210, 6), (488, 220, 7), (60, 330, 6)):
        art.fill(star(x, y, s, 4, 0.3), "#FFFFFF")
    body = spline([(256, 400), (140, 430), (96, 540), (416, 540), (372, 430)])
    art.shape(body, "#FDFBFF", "#D9CDEE", line=ink)
    low = {"sad": 34, "shy": 26, "sleepy": 40}.get(mood, 0)
    up = spline(
        [
            (150, 210),
            (104, 120 + low),
            (108, 22 + low),
            (152, 0 + low),
            (196, 44 + low * 0.7),
            (226, 156),
        ]
    )
    inner = spline(
        [
            (164, 186),
            (132, 118 + low),
            (134, 50 + low),
            (154, 30 + low),
            (178, 66 + low * 0.7),
            (198, 156),
        ]
    )
    art.shape(up, "#FFFFFF", "#E4DAF5", line=ink)
    art.fill(inner, "#FFC3D3", "#F29DB8")
    inside = art.mask(up)
    art.fill(
        spline(
            [(112, 40 + low), (150, 22 + low), (170, 52 + low), (150, 78 + low), (120, 74 + low)]
        ),
        "#6FA8F0",
        clip=inside,
        alpha=0.92,
    )
    art.fill(oval(176, 92 + low * 0.8, 10, 9), "#6FA8F0", clip=inside)
    art.fill(oval(124, 104 + low, 7, 7), "#6FA8F0", clip=inside)
    art.stroke([*up, up[0], up[1]], ink, 6)
    lifted = mood in ("surprised", "joy")
    if lifted:
        for shape, colour, to in (
            (mirrored(up), "#FFFFFF", "#E4DAF5"),
            (mirrored(inner), "#FFC3D3", "#F29DB8"),
        ):
            if colour == "#FFFFFF":
                art.shape(shape, colour, to, line=ink)
            else:
                art.fill(shape, colour, to)
    else:
        flop = spline(
            [
                (288, 156),
                (312, 74),
                (372, 30),
                (436, 58),
                (482, 138),
                (488, 226),
                (452, 244),
                (424, 190),
                (392, 128),
                (362, 160),
                (350, 206),
            ]
        )
        art.shape(flop, "#FFFFFF", "#DDD0F0", line=ink)
        art.fill(
            spline([(404, 76), (440, 96), (470, 158), (470, 214), (452, 206), (434, 150)]),
            "#FFC3D3",
            "#F29DB8",
        )
    left = [
        (256, 148),
        (182, 156),
        (118, 200),
        (86, 270),
        (76, 342),
        (102, 400),
        (156, 440),
        (210, 456),
        (256, 459),
    ]
    head = spline(both(left), steps=10)
    inside = art.shape(head, "#FFFFFF", "#E9DFF7", line=ink, width=7)
    art.fill(oval(256, 462, 150, 46), "#BFA9E0", clip=inside, blur=16, alpha=0.55)
    art.fill(oval(392, 330, 46, 110), "#CDBBE8", clip=inside, blur=20, alpha=0.5)
    art.stroke([*head, head[0], head[1]], ink, 7)
    tuft = bent(
        ((212, 162), 0.2),
        ((230, 106), -0.16),
        ((256, 142), 0.2),
        ((282, 94), -0.1),
        ((302, 162), 0.12),
    )
    art.shape(tuft, "#FFFFFF", "#E4D8F6", line=ink)
    art.fill(oval(257, 168, 47, 15), "#FBF8FE")
    art.fill(oval(176, 200, 54, 24, -30), "#FFFFFF", clip=inside, blur=10, alpha=0.9)
    look = Look(
        eye_x=86,
        eye_y=304,
        iris=("#6A2B6E", "#FF8FB8"),
        ink=ink,
        blush="#FF8FA8",
        mouth_y=386,
        rx=38,
        ry=44,
        skin="#EDE3F8",
        sleepy=0.13,
    )
    blush(art, look, mood)
    eyes(art, look, mood)
    art.fill(bent(((244, 360), 0.2), ((268, 360), 0.3), ((256, 374), 0.3)), "#F27D9C", "#D95A80")
    mouth(art, look, mood)
    art.fill(oval(352, 398, 13, 9, -20), "#F7C948", alpha=0.95)
    art.fill(oval(370, 384, 5, 4), "#F7C948", alpha=0.95)
    ribbon = [
        bent(((256, 478), 0.1), ((204, 456), 0.25), ((206, 506), 0.1)),
        bent(((256, 478), 0.1), ((306, 506), 0.25), ((308, 456), 0.1)),
    ]
    for points in ribbon:
        art.shape(points, "#9C86E0", "#7460BE", line=ink, width=5)
    art.shape(oval(256, 478, 12, 13), "#B7A4F0", "#8A76D2", line=ink, width=5)
    signs(art, look, mood)
    return art


def rivet(mood: str) -> Art:
    """A small mint robot whose face is a screen, before sea and lighthouse."""
    art = Art()
    ink = "#123238"
    art.fill(FRAME, "#14585F", "#7FD0C0")
    art.fill([(70, 40), (560, -90), (560, 150)], "#FFF3B8", blur=8, alpha=0.4)
    art.fill([(44, 540), (58, 120), (94, 120), (110, 540)], "#F4F1E6")
    for y in (170, 260, 350):
        art.fill([(54, y), (100, y), (102, y + 42), (50, y + 42)], "#E2574C")
    art.fill([(48, 78), (104, 78), (104, 120), (48, 120)], "#FFE58A")
    art.fill([(40, 80), (76, 40), (112, 80)], "#B33A36")
    art.fill(
        spline(
            [(-20, 440), (120, 414), (260, 436), (400, 410), (540, 440), (540, 560), (-20, 560)]
        ),
        "#2B8C90",
        "#1B666E",
    )
    glow(art, 270, 290, 230, "#DFFFF4", 0.4)
    body = spline([(256, 420), (168, 430), (132, 540), (380, 540), (344, 430)])
    art.shape(body, "#F1F7F4", "#A9C9C4", line=ink)
    art.shape(
        [(222, 424), (290, 424), (290, 452), (222, 452)], "#6E8C90", "#4C6A70", line=ink, width=5
    )
    tilt = {"sad": 26, "shy": 18, "sleepy": 30, "surprised": -6}.get(mood, 8)
    art.stroke(spline([(256, 150), (258, 108), (256 + tilt, 72)], closed=False), ink, 16)
    art.stroke(spline([(256, 150), (258, 108), (256 + tilt, 72)], closed=False), "#9FB9B8", 7)
    lamp = {
        "angry": "#FF5A4F",
        "love": "#FF6F9C",
        "sad": "#6FA8FF",
        "sleepy": "#8C9AA8",
        "surprised": "#FFE14A",
        "shy": "#FF9FC0",
        "thinking": "#B79CFF",
    }.get(mood, "#FFC53A")
    glow(art, 256 + tilt, 58, 46, lamp, 0.75)
    art.shape(oval(256 + tilt, 60, 23, 23), lamp, line=ink)
    art.fill(oval(249 + tilt, 52, 8, 7), "#FFFFFF", alpha=0.9)
    for side in (-1, 1):
        x = 256 + side * 186
        art.shape(
            spline(
                [
                    (x - 26, 236),
                    (x + 26, 236),
                    (x + 32, 296),
                    (x + 26, 356),
                    (x - 26, 356),
                    (x - 32, 296),
                ]
            ),
            "#FFB14A",
            "#E5792B",
            line=ink,
        )
        turn = 24 if side > 0 else 0
        bolt = oval(x + side * 10, 296, 20, 20)
        art.shape(bolt, "#F2F5F4", "#B7C4C4", line=ink, width=5)
        a = math.radians(turn)
        art.stroke(
            [
                (x + side * 10 - 12 * math.cos(a), 296 - 12 * math.sin(a)),
                (x + side * 10 + 12 * math.cos(a), 296 + 12 * math.sin(a)),
            ],
            ink,
            6,
        )
    shell = spline(
        both(
            [
                (256, 138),
                (170, 142),
                (108, 166),
                (88, 220),
                (82, 296),
                (90, 372),
                (118, 420),
                (176, 440),
                (256, 444),
            ]
        )
    )
    inside = art.shape(shell, "#FBFFFD", "#A5D3C6", line=ink, width=7)
    art.fill(oval(180, 176, 78, 24, -12), "#FFFFFF", clip=inside, blur=8, alpha=0.95)
    art.fill(oval(256, 452, 180, 40), "#4E9488", clip=inside, blur=14, alpha=0.5)
    for x, y in ((124, 200), (388, 200), (130, 396), (382, 396)):
        art.shape(oval(x, y, 8, 8), "#DDE8E5", "#93AFAA", line=ink, width=3)
    art.stroke([*shell, shell[0], shell[1]], ink, 7)
    screen = spline(
        both(
            [
                (256, 192),
                (180, 196),
                (136, 214),
                (122, 262),
                (122, 332),
                (138, 380),
                (186, 398),
                (256, 402),
            ]
        )
    )
    dark = art.shape(screen, "#0F2D3A", "#0A1B28", line=ink, width=7)
    light = {"angry": "#FF7A66", "love": "#FF8FB5", "sad": "#86BDFF", "shy": "#FFB3D1"}.get(
        mood, "#6BFFE0"
    )
    robot_face(art, mood, light, dark)
    art.fill(
        bent(((140, 216), 0.05), ((250, 198), 0.02), ((160, 300), 0.02), ((126, 300), 0.04)),
        "#FFFFFF",
        clip=dark,
        alpha=0.1,
    )
    seven = [(238, 474), (274, 474), (250, 512)]
    art.stroke(seven, "#E5792B", 10)
    signs_look = Look(
        eye_x=68, eye_y=286, iris=("", ""), ink=ink, blush="", mouth_y=360, rx=30, ry=34
    )
    if mood in ("sleepy", "thinking", "surprised"):
        signs(art, signs_look, mood)
    return art


def robot_face(art: Art, mood: str, light: str, screen: Image.Image) -> None:
    """Eyes and mouth of light on the dark screen."""

    def lit(points: Sequence[Point], width: float | None = None) -> None:
        if width is None:
            art.fill(points, light, clip=screen, blur=9, alpha=0.6)
            art.fill(points, light, clip=screen)
        else:
            mask = Image.new("L", (art.side, art.side), 0)
            scaled = [(x * SCALE, y * SCALE) for x, y in points]
            ImageDraw.Draw(mask).line(
                scaled, fill=255, width=round(width * 1.6 * SCALE), joint="curve"
            )
            soft = ImageChops.multiply(
                art.blurred(mask, 8).point([v * 6 // 10 for v in range(256)]), screen
            )
            art.image.paste(Image.new("RGB", mask.size, rgb(light)), (0, 0), soft)
            art.stroke(points, light, width, clip=screen)

    for side in (-1, 1):
        x, y = 256 + side * 68, 280
        match mood:
            case "joy":
                lit(
                    spline(
                        [
                            (x - 30, y + 16),
                            (x - 16, y - 12),
                            (x, y - 19),
                            (x + 16, y - 12),
                            (x + 30, y + 16),
                        ],
                        closed=False,
                    ),
                    14,
                )
            case "sleepy":
                lit(spline([(x - 30, y), (x, y + 14), (x + 30, y)], closed=False), 12)
            case "love":
                lit(heart(x, y, 36))
            case "angry":
                lit(
                    bent(
                        ((x - side * 34, y - 6), 0),
                        ((x + side * 34, y - 34), 0),
                        ((x + side * 30, y + 30), 0.2 * -side),
                        ((x - side * 30, y + 30), 0),
                    )
                )
            case "surprised":
                ring = oval(x, y, 33, 38)
                lit([*ring, *ring[:3]], 10)
                lit(oval(x, y, 11, 12))
            case "smug":
                lit(
                    spline(
                        [
                            (x - 34, y - 4),
                            (x + 34, y - 4),
                            (x + 28, y + 22),
                            (x, y + 32),
                            (x - 28, y + 22),
                        ],
                        steps=6,
                    )
                )
                art.fill(
                    [(x - 44, y - 44), (x + 44, y - 44), (x + 44, y + 1), (x - 44, y + 1)],
                    "#0D2531",
                    clip=screen,
                )
                lit([(x - 38, y - 2), (x + 38, y - 2)], 8)
            case _:
                dx, dy = {"shy": (-10, 8), "thinking": (10, -14)}.get(mood, (0, 0))
                eye = spline(
                    [
                        (x - 27 + dx, y - 34 + dy),
                        (x + 27 + dx, y - 34 + dy),
                        (x + 32 + dx, y + dy),
                        (x + 27 + dx, y + 34 + dy),
                        (x - 27 + dx, y + 34 + dy),
                        (x - 32 + dx, y + dy),
                    ]
                )
                lit(eye)
                art.fill(oval(x - 10 + dx, y - 14 + dy, 10, 12), "#FFFFFF", clip=screen)
                if mood == "sad":
                    art.fill(
                        [
                            (x - side * 50, y - 70),
                            (x + side * 50, y - 70),
                            (x + side * 50, y - 2),
                            (x - side * 50, y - 36),
                        ],
                        "#0E2834",
                        clip=screen,
                    )
                    if side > 0:
                        lit(oval(x + 4, y + 56, 8, 12))
        if mood in ("shy", "love", "joy"):
            for n in (-1, 0, 1):
                art.stroke(
                    [(x + side * 20 + n * 13 + 5, y + 50), (x + side * 20 + n * 13 - 4, y + 64)],
                    "#FF7FA6",
                    5,
                    clip=screen,
                )
    y = 348
    match mood:
        case "joy" | "love":
            lit(
                spline(
                    [
                        (222, y - 6),
                        (256, y - 2),
                        (290, y - 6),
                        (278, y + 24),
                        (256, y + 30),
                        (234, y + 24),
                    ]
                )
            )
        case "sad" | "angry":
            lit(spline([(228, y + 20), (242, y + 6), (270, y + 6), (284, y + 20)], closed=False), 9)
        case "surprised":
            lit(oval(256, y + 14, 12, 16))
        case "smug":
            lit(
                spline([(230, y + 10), (258, y + 16), (284, y + 4), (294, y - 10)], closed=False), 9
            )
        case "shy":
            lit(
                spline(
                    [(230, y + 12), (243, y + 5), (256, y + 13), (269, y + 5), (282, y + 12)],
                    closed=False,
                ),
                8,
            )
        case "thinking" | "sleepy":
            lit([(240, y + 10), (274, y + 10)], 9)
        case _:
            lit(
                spline(
                    [(226, y), (240, y + 14), (256, y + 18), (272, y + 14), (286, y)], closed=False
                ),
                10,
            )


CAST: dict[str, Callable[[str], Art]] = {"hoshi": hoshi, "sumi": sumi, "rivet": rivet, "nemu": nemu}


def main() -> None:
    """Draw all, or those named."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    total = 0
    for name in sys.argv[2:] or CAST:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for mood in EXPRESSIONS:
            path = folder / name / f"{mood}.png"
            CAST[name](mood).saved().save(path, optimize=True)
            total += path.stat().st_size
    print(f"{total / 1e6:.2f} MB in {folder}")


if __name__ == "__main__":
    main()
