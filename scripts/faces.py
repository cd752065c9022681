"""How the faces of the four are drawn: on pixels by make_avatars.py, as layers of SVG by make_puppets.py, alike on both.

Shapes are closed splines through a few points, lit from the upper left, in the coordinates of a grid of 512.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

GRID = 512

Point = tuple[float, float]


# --- shapes -------------------------------------------------------------------------------------------------------


def _between(a: float, b: float, c: float, d: float, t: float) -> float:
    """One coordinate between b (t = 0) and c (t = 1) of a Catmull-Rom curve."""
    return 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3
    )


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
            x, y = (
                _between(a, b, c, d, step / steps)
                for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
            )
            curve.append((x, y))
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
    """What a face is drawn on: pixels or SVG; M is what it gives back of a shape, to clip by."""

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


# --- the heads of the four ----------------------------------------------------------------------------------------

FOX = Look(
    eye_x=84, eye_y=296, iris=("#1C3E8F", "#4FD1FF"), ink="#3A1C2E", blush="#FF7F6B", mouth_y=394, rx=39, ry=47,
    skin="#F49A4C",
)  # fmt: skip
OWL = Look(
    eye_x=84, eye_y=300, iris=("#7A3E05", "#FFC641"), ink="#2A1836", blush="#FF9AA8", mouth_y=376, rx=44, ry=50,
    skin="#CDAADA", sleepy=0.1,
)  # fmt: skip
RABBIT = Look(
    eye_x=86, eye_y=304, iris=("#6A2B6E", "#FF8FB8"), ink="#40305C", blush="#FF8FA8", mouth_y=386, rx=38, ry=44,
    skin="#EDE3F8", sleepy=0.13,
)  # fmt: skip
ROBOT = Look(eye_x=68, eye_y=286, iris=("", ""), ink="#123238", blush="", mouth_y=360, rx=30, ry=34)
"""Of its face only the place is used, for signs: eyes and mouth are of light."""


def on_side(points: Sequence[Point], side: int) -> list[Point]:
    """What is drawn for the left, on the left (-1) or the right (1)."""
    return list(points) if side < 0 else mirrored(points)


def fox_ear(art: Canvas[M], side: int, droop: float = 0) -> None:
    """One ear with its dark tip; ``droop`` hangs it lower."""
    ink, tip = FOX.ink, (88 - droop, 44 + droop * 1.7)
    outer = on_side(bent(((104, 268), 0.09), (tip, 0.1), ((248, 152), 0)), side)
    inside = art.shape(outer, "#F7A653", "#E0712F", line=ink)
    art.fill(oval(*on_side([tip], side)[0], 70, 62), "#4A2338", clip=inside)
    art.stroke([*outer, outer[0]], ink, 6)
    inner = bent(((136, 236), 0.07), ((116 - droop * 0.6, 112 + droop), 0.07), ((212, 164), 0))
    art.fill(on_side(inner, side), "#FFC7B0", "#E98C7E")


def fox_head(art: Canvas[M]) -> None:
    """The head with its tuft, without eyes, nose and mouth."""
    ink = FOX.ink
    left = [
        (256, 126), (190, 134), (124, 172), (92, 238), (84, 300), (40, 356), (92, 372), (82, 404), (136, 412), (196, 446),
        (256, 458),
    ]  # fmt: skip
    head = spline(both(left), steps=10)
    inside = art.shape(head, "#FBB463", "#E87A35", line=ink, width=7)
    cream = spline(
        both(
            [(256, 340), (214, 318), (176, 352), (112, 336), (60, 360), (92, 376), (84, 406), (140, 416), (196, 450),
             (256, 464)]
        ),
        steps=10,
    )  # fmt: skip
    art.fill(cream, "#FFF8EC", "#FBE3CB", clip=inside)
    art.fill(
        bent(((256, 122), 0.1), ((288, 224), 0.12), ((256, 262), 0.12), ((224, 224), 0.1)),
        "#FFE9C9",
        clip=inside,
        alpha=0.9,
    )
    art.fill(oval(170, 190, 70, 36, -28), "#FFE0A8", clip=inside, blur=16, alpha=0.6)
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


def fox_nose(art: Canvas[M]) -> None:
    """A dark nose with a light on it."""
    art.shape(
        spline([(238, 364), (256, 358), (274, 364), (266, 378), (256, 383), (246, 378)]),
        "#5A2A3E",
        FOX.ink,
        line=FOX.ink,
        width=3,
    )
    art.fill(oval(250, 365, 6, 3), "#C78FA0")


def fox_pin(art: Canvas[M]) -> None:
    """The golden star at her ear."""
    art.shape(star(382, 182, 34), "#FFE98A", "#FFC02E", line=FOX.ink, width=5)


def owl_tuft(art: Canvas[M], side: int, droop: float = 0) -> None:
    """One tuft of an ear; ``droop`` hangs it lower."""
    tuft = bent(((92, 238), 0.1), ((64, 52 + droop), -0.05), ((256, 150), 0.1))
    art.shape(on_side(tuft, side), "#7C5597", "#5A3A78", line=OWL.ink)
    feather = bent(((118, 190), 0.12), ((84, 86 + droop), -0.05), ((196, 150), 0.1))
    art.fill(on_side(feather, side), "#C9A2DB", "#8D64AB")


def owl_head(art: Canvas[M]) -> None:
    """The head with the discs round the eyes, without eyes, beak and spectacles."""
    ink = OWL.ink
    left = [
        (256, 118), (176, 126), (104, 176), (70, 262), (78, 350), (134, 422), (196, 450), (256, 458),
    ]  # fmt: skip
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


def owl_beak(art: Canvas[M], tip: Point) -> None:
    """The upper beak, down to its tip."""
    beak = bent(((228, 348), 0.16), ((284, 348), 0.12), (tip, 0.12))
    art.shape(beak, "#FFD36B", "#E8922E", line=OWL.ink, width=6)
    art.fill(oval(248, 358, 9, 4), "#FFF3CE", alpha=0.9)


def owl_spectacles(art: Canvas[M]) -> None:
    """Golden spectacles with the light in them."""
    for side in (-1, 1):
        x = 256 + side * 84
        ring = oval(x, 302, 80, 80)
        art.stroke([*ring, *ring[:2]], "#5B3708", 11)
        art.stroke([*ring, *ring[:2]], "#F2BE4B", 6)
        art.stroke(
            spline([(x - 54, 262), (x - 40, 244), (x - 20, 234)], closed=False), "#FFFFFF", 6
        )
    art.stroke(spline([(240, 288), (256, 284), (272, 288)], closed=False), "#F2BE4B", 8)


def rabbit_ear(art: Canvas[M], side: int, low: float = 0, *, is_painted: bool = False) -> None:
    """One ear that stands, lower by ``low``; she has paint on the left one."""
    outer = on_side(
        spline(
            [(150, 210), (104, 120 + low), (108, 22 + low), (152, 0 + low), (196, 44 + low * 0.7), (226, 156)]
        ),
        side,
    )  # fmt: skip
    inner = spline(
        [(164, 186), (132, 118 + low), (134, 50 + low), (154, 30 + low), (178, 66 + low * 0.7), (198, 156)]
    )  # fmt: skip
    inside = art.shape(outer, "#FFFFFF", "#E4DAF5", line=RABBIT.ink)
    art.fill(on_side(inner, side), "#FFC3D3", "#F29DB8")
    if is_painted:
        art.fill(
            spline(
                [(112, 40 + low), (150, 22 + low), (170, 52 + low), (150, 78 + low), (120, 74 + low)]
            ),
            "#6FA8F0",
            clip=inside,
            alpha=0.92,
        )  # fmt: skip
        art.fill(oval(176, 92 + low * 0.8, 10, 9), "#6FA8F0", clip=inside)
        art.fill(oval(124, 104 + low, 7, 7), "#6FA8F0", clip=inside)
        art.stroke([*outer, outer[0], outer[1]], RABBIT.ink, 6)


def rabbit_flop(art: Canvas[M]) -> None:
    """The right ear, bent over."""
    flop = spline(
        [(288, 156), (312, 74), (372, 30), (436, 58), (482, 138), (488, 226), (452, 244), (424, 190), (392, 128),
         (362, 160), (350, 206)]
    )  # fmt: skip
    art.shape(flop, "#FFFFFF", "#DDD0F0", line=RABBIT.ink)
    art.fill(
        spline([(404, 76), (440, 96), (470, 158), (470, 214), (452, 206), (434, 150)]),
        "#FFC3D3",
        "#F29DB8",
    )


def rabbit_head(art: Canvas[M]) -> None:
    """The head with its tuft, without eyes, nose and mouth."""
    ink = RABBIT.ink
    left = [
        (256, 148), (182, 156), (118, 200), (86, 270), (76, 342), (102, 400), (156, 440), (210, 456), (256, 459),
    ]  # fmt: skip
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


def rabbit_nose(art: Canvas[M]) -> None:
    """A small pink nose."""
    art.fill(bent(((244, 360), 0.2), ((268, 360), 0.3), ((256, 374), 0.3)), "#F27D9C", "#D95A80")


def rabbit_paint(art: Canvas[M]) -> None:
    """Two spots of yellow on her cheek."""
    art.fill(oval(352, 398, 13, 9, -20), "#F7C948", alpha=0.95)
    art.fill(oval(370, 384, 5, 4), "#F7C948", alpha=0.95)


SCREEN: list[Point] = spline(
    both([(256, 192), (180, 196), (136, 214), (122, 262), (122, 332), (138, 380), (186, 398), (256, 402)])
)  # fmt: skip
LIGHTS = {"angry": "#FF7A66", "love": "#FF8FB5", "sad": "#86BDFF", "shy": "#FFB3D1"}
"""Colour of eyes and mouth by mood; of all others USUAL_LIGHT."""
USUAL_LIGHT = "#6BFFE0"

Light = tuple[Sequence[Point], float | None]
"""A shape of light on the robot's screen; one with a width is a line."""


def robot_ear(art: Canvas[M], side: int) -> None:
    """One ear with its bolt."""
    x, ink = 256 + side * 186, ROBOT.ink
    art.shape(
        spline([(x - 26, 236), (x + 26, 236), (x + 32, 296), (x + 26, 356), (x - 26, 356), (x - 32, 296)]),
        "#FFB14A", "#E5792B", line=ink,
    )  # fmt: skip
    art.shape(oval(x + side * 10, 296, 20, 20), "#F2F5F4", "#B7C4C4", line=ink, width=5)
    turn = math.radians(24 if side > 0 else 0)
    dx, dy = 12 * math.cos(turn), 12 * math.sin(turn)
    art.stroke([(x + side * 10 - dx, 296 - dy), (x + side * 10 + dx, 296 + dy)], ink, 6)


def robot_head(art: Canvas[M]) -> M:
    """The head with the dark screen; returns the screen's mask."""
    ink = ROBOT.ink
    shell = spline(
        both([(256, 138), (170, 142), (108, 166), (88, 220), (82, 296), (90, 372), (118, 420), (176, 440), (256, 444)])
    )  # fmt: skip
    inside = art.shape(shell, "#FBFFFD", "#A5D3C6", line=ink, width=7)
    art.fill(oval(180, 176, 78, 24, -12), "#FFFFFF", clip=inside, blur=8, alpha=0.95)
    art.fill(oval(256, 452, 180, 40), "#4E9488", clip=inside, blur=14, alpha=0.5)
    for x, y in ((124, 200), (388, 200), (130, 396), (382, 396)):
        art.shape(oval(x, y, 8, 8), "#DDE8E5", "#93AFAA", line=ink, width=3)
    art.stroke([*shell, shell[0], shell[1]], ink, 7)
    return art.shape(SCREEN, "#0F2D3A", "#0A1B28", line=ink, width=7)


def robot_shine(art: Canvas[M], screen: M) -> None:
    """What the glass before the screen reflects."""
    art.fill(
        bent(((140, 216), 0.05), ((250, 198), 0.02), ((160, 300), 0.02), ((126, 300), 0.04)),
        "#FFFFFF",
        clip=screen,
        alpha=0.1,
    )


def robot_eye(mood: str, side: int) -> list[Light]:
    """An eye of light; half shut ones (sad, smug) are open here, who draws says how they are shut."""
    x, y = 256.0 + side * 68, 280.0
    match mood:
        case "joy":
            arch = [(x - 30, y + 16), (x - 16, y - 12), (x, y - 19), (x + 16, y - 12), (x + 30, y + 16)]  # fmt: skip
            return [(spline(arch, closed=False), 14)]
        case "sleepy":
            return [(spline([(x - 30, y), (x, y + 14), (x + 30, y)], closed=False), 12)]
        case "love":
            return [(heart(x, y, 36), None)]
        case "angry":
            glare = bent(
                ((x - side * 34, y - 6), 0),
                ((x + side * 34, y - 34), 0),
                ((x + side * 30, y + 30), 0.2 * -side),
                ((x - side * 30, y + 30), 0),
            )
            return [(glare, None)]
        case "surprised":
            ring = oval(x, y, 33, 38)
            return [([*ring, *ring[:3]], 10), (oval(x, y, 11, 12), None)]
    dx, dy = robot_looks(mood)
    x, y = x + dx, y + dy
    box = [(x - 27, y - 34), (x + 27, y - 34), (x + 32, y), (x + 27, y + 34), (x - 27, y + 34), (x - 32, y)]  # fmt: skip
    return [(spline(box), None)]


def robot_looks(mood: str) -> tuple[float, float]:
    """Where it looks: how far its eyes are from their places."""
    return {"shy": (-10, 8), "thinking": (10, -14)}.get(mood, (0, 0))


def robot_glint(art: Canvas[M], mood: str, side: int, clip: M | None = None) -> None:
    """The white light in an open eye."""
    dx, dy = robot_looks(mood)
    art.fill(oval(256 + side * 68 - 10 + dx, 280 - 14 + dy, 10, 12), "#FFFFFF", clip=clip)


def robot_tear() -> Light:
    """What it weeps, below its right eye."""
    return oval(256 + 68 + 4, 280 + 56, 8, 12), None


def robot_mouth(mood: str) -> Light:
    """A mouth of light."""
    y = 348
    match mood:
        case "joy" | "love":
            laugh = [(222, y - 6), (256, y - 2), (290, y - 6), (278, y + 24), (256, y + 30), (234, y + 24)]  # fmt: skip
            return spline(laugh), None
        case "surprised":
            return oval(256, y + 14, 12, 16), None
        case "thinking" | "sleepy":
            return [(240, y + 10), (274, y + 10)], 9
    line, width = {
        "sad": ([(228, y + 20), (242, y + 6), (270, y + 6), (284, y + 20)], 9),
        "angry": ([(228, y + 20), (242, y + 6), (270, y + 6), (284, y + 20)], 9),
        "smug": ([(230, y + 10), (258, y + 16), (284, y + 4), (294, y - 10)], 9),
        "shy": ([(230, y + 12), (243, y + 5), (256, y + 13), (269, y + 5), (282, y + 12)], 8),
    }.get(mood, ([(226, y), (240, y + 14), (256, y + 18), (272, y + 14), (286, y)], 10))
    return spline(line, closed=False), width
