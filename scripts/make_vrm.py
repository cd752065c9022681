"""Make the VRM figure that ships, for the pages and for the tests: python scripts/make_vrm.py [file.vrm].

A small doll in a dress, VRM 1.0: rounded parts skinned to a humanoid skeleton, a face of flat shapes that lie on the head,
and one blend shape per expression and vowel. A face is a set of numbers (`Face`): a blend shape is the difference between
the face at rest and another one, so no shape is modelled twice. Coordinates in metres, y up, facing +z, her left is +x.

Source: VRM 1.0 (VRMC_vrm, VRMC_springBone, VRMC_materials_mtoon) and glTF 2.0.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
TARGET = PROJECT / "backend" / "avatar" / "builtin" / "nori" / "nori.vrm"

Point = tuple[float, float, float]
Weights = tuple[tuple[str, float], ...]

# --- skeleton ---

# Bone: parent and place. Humanoid names; the tails are bones of their own.
LEFT_BONES: dict[str, tuple[str, Point]] = {
    "leftShoulder": ("chest", (0.03, 0.895, -0.005)),
    "leftUpperArm": ("leftShoulder", (0.085, 0.885, -0.005)),
    "leftLowerArm": ("leftUpperArm", (0.215, 0.885, -0.005)),
    "leftHand": ("leftLowerArm", (0.335, 0.885, -0.005)),
    "leftUpperLeg": ("hips", (0.055, 0.575, 0.0)),
    "leftLowerLeg": ("leftUpperLeg", (0.057, 0.33, 0.006)),
    "leftFoot": ("leftLowerLeg", (0.057, 0.07, -0.005)),
    "leftToes": ("leftFoot", (0.057, 0.03, 0.06)),
    "leftEye": ("head", (0.03, 1.11, 0.01)),
    "leftTail0": ("head", (0.165, 1.185, -0.045)),
    "leftTail1": ("leftTail0", (0.225, 1.1, -0.06)),
    "leftTail2": ("leftTail1", (0.245, 0.98, -0.065)),
    "leftTail3": ("leftTail2", (0.235, 0.86, -0.06)),
}
BONES: dict[str, tuple[str, Point]] = {
    "hips": ("", (0.0, 0.61, 0.0)),
    "spine": ("hips", (0.0, 0.69, 0.0)),
    "chest": ("spine", (0.0, 0.79, 0.0)),
    "neck": ("chest", (0.0, 0.92, -0.005)),
    "head": ("neck", (0.0, 0.965, 0.0)),
    **LEFT_BONES,
    **{
        name.replace("left", "right"): (
            parent.replace("left", "right"),
            (-place[0], place[1], place[2]),
        )
        for name, (parent, place) in LEFT_BONES.items()
    },
}
NAMES = tuple(BONES)
HUMANOID = tuple(name for name in NAMES if "Tail" not in name)

# --- colours ---


@dataclass(frozen=True, slots=True)
class Paint:
    """One material: lit and shaded colour ("#RRGGBB"), whether it has an outline and is seen from both sides."""

    name: str
    lit: str
    shade: str
    outline: bool = True
    both_sides: bool = False


PAINTS = (
    Paint("skin", "#FFE3D0", "#F2B9A2"),
    Paint("hair", "#F0A35E", "#D07F4C", both_sides=True),
    Paint("dress", "#4F74D9", "#34509F"),
    Paint("white", "#FAFBFF", "#C9D0EA"),
    Paint("shoes", "#3A3357", "#282341"),
    Paint("ribbon", "#F2557B", "#BC3660"),
    Paint("eye", "#33264A", "#33264A", outline=False),
    Paint("iris", "#7C63D8", "#7C63D8", outline=False),
    Paint("shine", "#FFFFFF", "#FFFFFF", outline=False),
    Paint("brow", "#A8623A", "#A8623A", outline=False),
    Paint("mouth", "#8E2C40", "#8E2C40", outline=False),
    Paint("tongue", "#EE8088", "#EE8088", outline=False),
    Paint("blush", "#FFB9AE", "#F7A398", outline=False),
)

# --- the face in numbers ---


@dataclass(frozen=True, slots=True)
class Eye:
    """One eye and its brow.

    Attributes:
        open: 1 at rest, 0 closed.
        size: Of the whole eye.
        arc: How far the middle of a narrow eye lies above its corners; negative below.
        heart: 0 round, 1 heart.
        raised: Of the brow, in m.
        slant: Of the brow: inner end up (positive) or down, in m.
    """

    open: float = 1.0
    size: float = 1.0
    arc: float = 0.0
    heart: float = 0.0
    raised: float = 0.0
    slant: float = 0.0


@dataclass(frozen=True, slots=True)
class Mouth:
    """The mouth, in m.

    Attributes:
        width: Half of it.
        below, above: How far the lips are from the line between the corners.
        curve: How far the corners lie above the middle: a smile.
        tilt: How far the left corner lies above the right one.
    """

    width: float = 0.026
    below: float = 0.0016
    above: float = 0.0016
    curve: float = 0.008
    tilt: float = 0.0


@dataclass(frozen=True, slots=True)
class Face:
    """All that can change in the face."""

    left: Eye = Eye()
    right: Eye = Eye()
    mouth: Mouth = Mouth()
    blush: float = 0.8


REST = Face()
SHUT = Eye(open=0.1, arc=-0.12)


def both(eye: Eye, **others: object) -> Face:
    """A face with two equal eyes."""
    face = replace(REST, left=eye, right=eye)
    return replace(face, **others)  # type: ignore[arg-type]  # replace() knows the fields' types


PRESETS: dict[str, Face] = {
    "aa": replace(REST, mouth=Mouth(0.025, 0.036, 0.004, 0.006)),
    "ih": replace(REST, mouth=Mouth(0.032, 0.012, 0.003, 0.006)),
    "ou": replace(REST, mouth=Mouth(0.011, 0.014, 0.008, 0.0)),
    "ee": replace(REST, mouth=Mouth(0.038, 0.02, 0.003, 0.009)),
    "oh": replace(REST, mouth=Mouth(0.017, 0.028, 0.01, 0.0)),
    "blink": both(SHUT),
    "blinkLeft": replace(REST, left=SHUT),
    "blinkRight": replace(REST, right=SHUT),
    "happy": both(
        Eye(open=0.14, arc=0.55, raised=0.012), mouth=Mouth(0.036, 0.016, 0.002, 0.017), blush=1.1
    ),
    "angry": both(Eye(open=0.72, raised=-0.012, slant=-0.02), mouth=Mouth(0.024, curve=-0.012)),
    "sad": both(Eye(open=0.66, raised=0.006, slant=0.018), mouth=Mouth(0.02, curve=-0.01)),
    "relaxed": both(Eye(open=0.12, arc=-0.3, raised=0.004), mouth=Mouth(0.03, curve=0.013)),
    "surprised": both(Eye(size=1.16, raised=0.022), mouth=Mouth(0.015, 0.02, 0.01, 0.0), blush=0.6),
}
CUSTOM: dict[str, Face] = {
    "smug": replace(
        REST,
        left=Eye(open=0.5, raised=0.012),
        right=Eye(open=0.5, raised=-0.004, slant=-0.008),
        mouth=Mouth(0.03, curve=0.012, tilt=0.012),
    ),
    "shy": both(Eye(open=0.62, arc=-0.05, slant=0.012), mouth=Mouth(0.014, curve=0.002), blush=1.7),
    "sleepy": both(Eye(open=0.3, arc=-0.14, raised=-0.003), mouth=Mouth(0.013, 0.005, 0.003, 0.0)),
    "love": both(
        Eye(size=1.05, heart=1.0, raised=0.01), mouth=Mouth(0.032, 0.014, 0.002, 0.015), blush=1.5
    ),
    "thinking": replace(
        REST,
        left=Eye(raised=0.018, slant=0.004),
        right=Eye(open=0.7, raised=-0.006, slant=-0.01),
        mouth=Mouth(0.016, curve=-0.004, tilt=-0.008),
    ),
}
MORPHS = {**PRESETS, **CUSTOM}
EYES_SHUT = ("happy", "relaxed", "love")  # a blink on top would push them through the face

# --- shapes ---


@dataclass(slots=True)
class Part:
    """A piece of surface: points, which bones they follow, triangles, and where the points go in each blend shape."""

    paint: str
    points: list[Point]
    weights: list[Weights]
    triangles: list[tuple[int, int, int]]
    morphs: dict[str, list[Point]] = field(default_factory=dict)
    normals: list[Point] = field(default_factory=list)


def minus(a: Point, b: Point) -> Point:
    """The way from b to a."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def cross(a: Point, b: Point) -> Point:
    """At right angles to both."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def unit(a: Point) -> Point:
    """The same direction, one long."""
    length = math.sqrt(a[0] ** 2 + a[1] ** 2 + a[2] ** 2) or 1.0
    return (a[0] / length, a[1] / length, a[2] / length)


def mixed(a: Point, b: Point, t: float) -> Point:
    """Between two points."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def normals_of(points: Sequence[Point], triangles: Sequence[tuple[int, int, int]]) -> list[Point]:
    """Smooth normals: each point's triangles by their size."""
    sums = [(0.0, 0.0, 0.0)] * len(points)
    for a, b, c in triangles:
        n = cross(minus(points[b], points[a]), minus(points[c], points[a]))
        for i in (a, b, c):
            sums[i] = (sums[i][0] + n[0], sums[i][1] + n[1], sums[i][2] + n[2])
    return [unit(n) for n in sums]


def grid(rows: int, columns: int, *, is_ring: bool) -> list[tuple[int, int, int]]:
    """Triangles of a net of points, row after row; a ring's last column touches its first."""
    found = []
    for row in range(rows - 1):
        for column in range(columns if is_ring else columns - 1):
            a = row * columns + column
            b = row * columns + (column + 1) % columns
            found += [(a, b, a + columns), (b, b + columns, a + columns)]
    return found


def on_bone(name: str) -> Callable[[Point, float], Weights]:
    """Everything follows one bone."""
    return lambda point, along: ((name, 1.0),)


def along(*stops: tuple[float, str]) -> Callable[[Point, float], Weights]:
    """Bones along a part: (place 0-1, bone); between two places it follows both."""

    def weights(point: Point, t: float) -> Weights:
        for (t0, first), (t1, second) in pairwise(stops):
            if t <= t1:
                share = 0.0 if t <= t0 else (t - t0) / (t1 - t0)
                share = share * share * (3 - 2 * share)
                return ((first, 1 - share), (second, share))
        return ((stops[-1][1], 1.0),)

    return weights


def tube(
    paint: str,
    path: Sequence[Point],
    radii: Sequence[tuple[float, float]],
    weigh: Callable[[Point, float], Weights],
    *,
    segments: int = 12,
    side: Point = (0.0, 0.0, 1.0),
) -> Part:
    """Rings around a path, closed at both ends.

    Args:
        paint: Material.
        path: Middles of the rings.
        radii: Of each ring: along ``side``, and across it.
        weigh: Bones of a point, by its place along the path (0-1).
        segments: Points of a ring.
        side: About at right angles to the path.
    """
    points: list[Point] = []
    weights: list[Weights] = []
    count = len(path)
    for row, (middle, (r0, r1)) in enumerate(zip(path, radii, strict=True)):
        forward = unit(minus(path[min(row + 1, count - 1)], path[max(row - 1, 0)]))
        across = unit(cross(forward, side))
        upright = cross(across, forward)
        for n in range(segments):
            angle = 2 * math.pi * n / segments
            c, s = math.cos(angle) * r0, math.sin(angle) * r1
            points.append(
                (
                    middle[0] + upright[0] * c + across[0] * s,
                    middle[1] + upright[1] * c + across[1] * s,
                    middle[2] + upright[2] * c + across[2] * s,
                )
            )
            weights.append(weigh(points[-1], row / (count - 1)))
    # Rings run counter-clockwise around the path, seen from its end.
    triangles = [(a, c, b) for a, b, c in grid(count, segments, is_ring=True)]
    for row, middle, is_start in ((0, path[0], True), (count - 1, path[-1], False)):
        weights.append(weigh(middle, row / (count - 1)))
        points.append(middle)
        last = len(points) - 1
        for n in range(segments):
            a, b = row * segments + n, row * segments + (n + 1) % segments
            triangles.append((a, b, last) if is_start else (b, a, last))
    part = Part(paint, points, weights, triangles)
    if _volume(part) < 0:
        part.triangles = [(a, c, b) for a, b, c in part.triangles]
    return part


def _volume(part: Part) -> float:
    """Six times the volume inside; negative when the triangles face inwards."""
    total = 0.0
    for a, b, c in part.triangles:
        p, n = part.points[a], cross(part.points[b], part.points[c])
        total += p[0] * n[0] + p[1] * n[1] + p[2] * n[2]
    return total


def ball(paint: str, middle: Point, radii: Point, bone: str, *, rings: int = 8) -> Part:
    """An ellipsoid that follows one bone."""
    path, sizes = [], []
    for row in range(rings + 1):
        angle = math.pi * row / rings
        path.append((middle[0], middle[1] - math.cos(angle) * radii[1], middle[2]))
        sizes.append(
            (max(0.0005, math.sin(angle)) * radii[2], max(0.0005, math.sin(angle)) * radii[0])
        )
    return tube(paint, path, sizes, on_bone(bone), segments=2 * rings)


def mirrored(part: Part) -> Part:
    """The same on the other side."""
    return Part(
        part.paint,
        [(-x, y, z) for x, y, z in part.points],
        [
            tuple((name.replace("left", "right"), share) for name, share in weights)
            for weights in part.weights
        ],
        [(a, c, b) for a, b, c in part.triangles],
    )


# --- head and hair ---

HEAD = (0.0, 1.11, 0.0)
HEAD_RADII = (0.168, 0.158, 0.15)


def narrowing(y: float) -> float:
    """How much narrower the head is at a height, for cheeks and chin."""
    t = (y - HEAD[1]) / HEAD_RADII[1]
    return 1.0 - 0.2 * t * t if t < 0 else 1.0


def on_face(x: float, y: float, off: float) -> Point:
    """The point of the face at x and y, lifted by ``off``."""
    narrow = narrowing(y)
    t = (y - HEAD[1]) / HEAD_RADII[1]
    inside = 1.0 - t * t - (x / (HEAD_RADII[0] * narrow)) ** 2
    z = HEAD_RADII[2] * math.sqrt(max(0.0, inside))
    return (x, y, HEAD[2] + z + off)


def skull(latitude: float, azimuth: float, scale: float) -> Point:
    """A point around the head: degrees up, and degrees from the front to her left."""
    up, turn = math.radians(latitude), math.radians(azimuth)
    y = math.sin(up) * HEAD_RADII[1]
    narrow = narrowing(HEAD[1] + y)
    return (
        math.cos(up) * math.sin(turn) * HEAD_RADII[0] * scale * narrow,
        HEAD[1] + y * scale,
        HEAD[2] + math.cos(up) * math.cos(turn) * HEAD_RADII[2] * scale,
    )


def head() -> Part:
    """The bare head."""
    part = ball("skin", HEAD, HEAD_RADII, "head", rings=14)
    part.points = [(x * narrowing(y), y, z) for x, y, z in part.points]
    return part


def net(
    paint: str,
    place: Callable[[float, float], Point],
    weigh: Callable[[Point, float], Weights],
    rows: int,
    columns: int,
) -> Part:
    """A sheet: ``place(down, across)`` with both 0-1; seen from the front it faces forward."""
    points, weights = [], []
    for row in range(rows):
        for column in range(columns):
            points.append(place(row / (rows - 1), column / (columns - 1)))
            weights.append(weigh(points[-1], row / (rows - 1)))
    return Part(paint, points, weights, grid(rows, columns, is_ring=False))


def cap() -> Part:
    """The hair on the back of the head, open for the face."""

    def place(down: float, across: float) -> Point:
        azimuth = 180.0 + (across - 0.5) * 360.0
        from_front = min(azimuth % 360.0, 360.0 - azimuth % 360.0)
        t = min(1.0, max(0.0, (from_front - 48.0) / 34.0))
        t = t * t * (3 - 2 * t)
        lowest = 34.0 - t * 74.0
        return skull(89.0 - down * (89.0 - lowest), azimuth, 1.085 + 0.05 * down * t)

    part = net("hair", place, on_bone("head"), 12, 40)
    part.triangles = (
        [(a, c, b) for a, b, c in part.triangles] if part_faces_in(part) else part.triangles
    )
    return part


def part_faces_in(part: Part) -> bool:
    """Whether most of its triangles face the middle of the head."""
    inwards = 0
    for a, b, c in part.triangles:
        n = cross(minus(part.points[b], part.points[a]), minus(part.points[c], part.points[a]))
        out = minus(part.points[a], HEAD)
        inwards += 1 if n[0] * out[0] + n[1] * out[1] + n[2] * out[2] < 0 else -1
    return inwards > 0


def lock(azimuth: float, lean: float, tip: float, width: float) -> Part:
    """A pointed lock of the fringe: from the crown down to latitude ``tip``, ending ``lean`` degrees further round."""

    def place(down: float, across: float) -> Point:
        half = width * (1.0 - down**2.2) * (0.55 + 0.45 * min(1.0, down * 3))
        turn = azimuth + lean * down * down + (across - 0.5) * 2 * half
        bulge = 0.018 * math.sin(math.pi * across) * (1.0 - down)
        return skull(72.0 - down * (72.0 - tip), turn, 1.105 + bulge + 0.025 * down)

    part = net("hair", place, on_bone("head"), 8, 5)
    if part_faces_in(part):
        part.triangles = [(a, c, b) for a, b, c in part.triangles]
    return part


def tail() -> Part:
    """The left one of the two tails."""
    stops = [BONES[f"leftTail{n}"][1] for n in range(4)]
    path = [
        stops[0],
        mixed(stops[0], stops[1], 0.5),
        stops[1],
        mixed(stops[1], stops[2], 0.5),
        stops[2],
        mixed(stops[2], stops[3], 0.55),
        stops[3],
        (stops[3][0] - 0.012, stops[3][1] - 0.05, stops[3][2]),
    ]
    sizes = [0.022, 0.038, 0.046, 0.05, 0.047, 0.038, 0.024, 0.003]
    return tube(
        "hair",
        path,
        [(size, size) for size in sizes],
        along((0.0, "leftTail0"), (0.3, "leftTail0"), (0.6, "leftTail1"), (0.9, "leftTail2")),
        segments=12,
    )


# --- features ---


def disc(
    paint: str,
    shape: Callable[[Face, float, float], tuple[float, float]],
    off: float,
    weigh: Callable[[Point, float], Weights],
    *,
    rings: int = 3,
    segments: int = 20,
) -> Part:
    """A flat shape on the face; ``shape(face, radius, angle)`` gives its x and y, radius 0-1."""

    def points(face: Face) -> list[Point]:
        places = [shape(face, 0.0, 0.0)]
        for ring in range(1, rings + 1):
            places += [
                shape(face, ring / rings, 2 * math.pi * n / segments) for n in range(segments)
            ]
        return [on_face(x, y, off) for x, y in places]

    triangles = [(0, 1 + n, 1 + (n + 1) % segments) for n in range(segments)]
    triangles += [(1 + a, 1 + c, 1 + b) for a, b, c in grid(rings, segments, is_ring=True)]
    rest = points(REST)
    return Part(
        paint,
        rest,
        [weigh(point, 0.0) for point in rest],
        triangles,
        {name: points(face) for name, face in MORPHS.items()},
        # The head's own, as some shapes have no size at rest.
        [unit(minus(point, HEAD)) for point in rest],
    )


EYE_AT = (0.066, 1.105)
EYE_RADII = (0.03, 0.043)


def eye_point(eye: Eye, x: float, y: float) -> tuple[float, float]:
    """Where a point of the round eye (-1 to 1) lies, seen from its middle, in m."""
    if eye.heart:
        angle, radius = math.atan2(y, x), math.hypot(x, y)
        hx = math.sin(angle - math.pi / 2) ** 3 * -1.0
        t = angle - math.pi / 2
        hy = (
            13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) + 2.5
        ) / 15
        x += (hx * radius * 1.15 - x) * eye.heart
        y += (hy * radius * 0.85 - y) * eye.heart
    lift = eye.arc * (1 - x * x)
    return x * EYE_RADII[0] * eye.size, (y * eye.open + lift) * EYE_RADII[1] * eye.size


def eye_parts(sign: float) -> list[Part]:
    """An eye: dark oval, brighter below, two lights; and its brow."""
    name = "leftEye" if sign > 0 else "rightEye"

    def at(
        middle: tuple[float, float], size: tuple[float, float], hides: bool
    ) -> Callable[[Face, float, float], tuple[float, float]]:
        def shape(face: Face, radius: float, angle: float) -> tuple[float, float]:
            eye = face.left if sign > 0 else face.right
            scale = 1.0
            if hides:  # lights and iris go out in a narrow eye, and in hearts
                scale = min(1.0, max(0.0, (eye.open - 0.25) / 0.4)) * (1.0 - eye.heart)
            x = middle[0] * min(1.0, scale + 0.3) + math.cos(angle) * radius * size[0] * scale
            y = middle[1] * min(1.0, scale + 0.3) + math.sin(angle) * radius * size[1] * scale
            dx, dy = eye_point(eye, x, y)
            return sign * EYE_AT[0] + dx, EYE_AT[1] + dy

        return shape

    def brow(face: Face, radius: float, angle: float) -> tuple[float, float]:
        eye = face.left if sign > 0 else face.right
        u = math.cos(angle) * radius
        v = math.sin(angle) * radius
        inner = -u * sign
        y = 1.178 + eye.raised + eye.slant * inner * 0.5 + 0.006 * (1 - u * u)
        return sign * 0.068 + u * 0.031, y + v * 0.0055

    weigh = on_bone(name)
    return [
        disc("eye", at((0, 0), (1, 1), hides=False), 0.004, weigh),
        disc("iris", at((0, -0.36), (0.72, 0.5), hides=True), 0.005, weigh, rings=2),
        disc(
            "shine", at((-0.28, 0.45), (0.34, 0.27), hides=True), 0.006, weigh, rings=1, segments=14
        ),
        disc(
            "shine", at((0.34, -0.42), (0.16, 0.13), hides=True), 0.006, weigh, rings=1, segments=10
        ),
        disc("brow", brow, 0.004, on_bone("head"), rings=2),
    ]


def mouth_parts() -> list[Part]:
    """The mouth, and the tongue that is seen when it is open."""

    def lips(face: Face, u: float, v: float) -> tuple[float, float]:
        """A point between the corners (u, -1 to 1) and the lips (v, -1 the lower one)."""
        mouth = face.mouth
        round_off = math.sqrt(max(0.0, 1 - u * u))
        lip = mouth.above if v > 0 else mouth.below
        y = 1.035 + mouth.curve * (u * u - 0.4) + mouth.tilt * u / 2 + v * lip * round_off
        return u * mouth.width, y

    def shape(face: Face, radius: float, angle: float) -> tuple[float, float]:
        c, s = math.cos(angle) * radius, math.sin(angle) * radius
        # From the disc to the field between the lips.
        edge = math.sqrt(max(1e-9, 1 - c * c))
        return lips(face, c, s / edge if edge > 1e-4 else 0.0)

    def tongue(face: Face, radius: float, angle: float) -> tuple[float, float]:
        mouth = face.mouth
        size = min(1.0, max(0.0, (mouth.below - 0.006) / 0.016))
        x = math.cos(angle) * radius * mouth.width * 0.55 * size
        y = -mouth.below * 0.66 + math.sin(angle) * radius * mouth.below * 0.28 * size
        return x, 1.035 - mouth.curve * 0.4 + y

    weigh = on_bone("head")
    return [
        disc("mouth", shape, 0.002, weigh, rings=3, segments=28),
        disc("tongue", tongue, 0.003, weigh, rings=1, segments=16),
    ]


def blush(sign: float) -> Part:
    """A cheek."""
    return disc(
        "blush",
        lambda face, radius, angle: (
            sign * 0.104 + math.cos(angle) * radius * 0.021 * face.blush,
            1.052 + math.sin(angle) * radius * 0.0115 * face.blush,
        ),
        0.0012,
        on_bone("head"),
        rings=2,
        segments=16,
    )


def face_parts() -> list[Part]:
    """All that moves in the face."""
    return [*eye_parts(1.0), *eye_parts(-1.0), *mouth_parts(), blush(1.0), blush(-1.0)]


# --- body ---


def body_parts() -> list[Part]:
    """Head, hair, dress and limbs."""
    torso = tube(
        "dress",
        [(0, y, -0.004) for y in (0.915, 0.9, 0.87, 0.82, 0.76, 0.715, 0.68, 0.62, 0.55, 0.49, 0.465)],
        [
            (0.026, 0.034), (0.042, 0.068), (0.056, 0.088), (0.062, 0.082), (0.056, 0.066),
            (0.056, 0.064), (0.064, 0.074), (0.096, 0.108), (0.13, 0.142), (0.155, 0.168),
            (0.158, 0.172),
        ],
        along((0.15, "chest"), (0.4, "chest"), (0.52, "spine"), (0.62, "hips"), (1.0, "hips")),
        segments=20,
    )  # fmt: skip
    hem = tube(
        "white",
        [(0, y, -0.004) for y in (0.468, 0.46, 0.448)],
        [(0.159, 0.173), (0.164, 0.178), (0.161, 0.175)],
        on_bone("hips"),
        segments=20,
    )
    collar = tube(
        "white",
        [(0, 0.924, -0.004), (0, 0.912, -0.003), (0, 0.897, -0.002)],
        [(0.03, 0.034), (0.042, 0.056), (0.053, 0.078)],
        on_bone("chest"),
        segments=20,
    )
    neck = tube(
        "skin",
        [(0, 0.89, -0.004), (0, 0.93, -0.004), (0, 0.985, 0.0)],
        [(0.026, 0.026), (0.024, 0.024), (0.026, 0.026)],
        along((0.0, "chest"), (0.5, "neck"), (1.0, "head")),
        segments=12,
    )
    bow = [
        ball("ribbon", (0.0, 0.886, 0.058), (0.012, 0.012, 0.01), "chest", rings=5),
        tube(
            "ribbon",
            [(0.004, 0.886, 0.057), (0.022, 0.889, 0.056), (0.045, 0.891, 0.05)],
            [(0.004, 0.006), (0.008, 0.016), (0.006, 0.02)],
            on_bone("chest"),
            segments=10,
        ),
    ]
    bow.append(mirrored(bow[1]))

    y, z = 0.885, -0.005
    sleeve = tube(
        "dress",
        [(x, y, z) for x in (0.062, 0.08, 0.1, 0.125, 0.15, 0.158)],
        [(0.026, 0.026), (0.037, 0.037), (0.044, 0.044), (0.046, 0.046), (0.044, 0.044), (0.036, 0.036)],
        along((0.0, "leftShoulder"), (0.35, "leftUpperArm"), (1.0, "leftUpperArm")),
        segments=14,
    )  # fmt: skip
    arm = tube(
        "skin",
        [(x, y, z) for x in (0.1, 0.15, 0.19, 0.205, 0.22, 0.24, 0.29, 0.34)],
        [(r, r) for r in (0.026, 0.025, 0.024, 0.0235, 0.0235, 0.023, 0.0215, 0.019)],
        along((0.25, "leftUpperArm"), (0.42, "leftUpperArm"), (0.56, "leftLowerArm"),
              (0.9, "leftLowerArm"), (1.0, "leftHand")),
        segments=12,
    )  # fmt: skip
    hand = ball("skin", (0.363, y - 0.001, z), (0.033, 0.02, 0.026), "leftHand", rings=7)
    thumb = tube(
        "skin",
        [(0.345, y, z + 0.014), (0.36, y, z + 0.03), (0.372, y, z + 0.04)],
        [(0.009, 0.009), (0.009, 0.009), (0.006, 0.006)],
        on_bone("leftHand"),
        segments=8,
        side=(0.0, 1.0, 0.0),
    )
    x = 0.057
    leg = tube(
        "skin",
        [(x, h, 0.003) for h in (0.56, 0.48, 0.4, 0.36, 0.33, 0.3, 0.25)],
        [(r, r) for r in (0.046, 0.045, 0.04, 0.038, 0.037, 0.036, 0.035)],
        along((0.5, "leftUpperLeg"), (0.85, "leftLowerLeg"), (1.0, "leftLowerLeg")),
    )
    sock = tube(
        "white",
        [(x, h, 0.001) for h in (0.262, 0.25, 0.18, 0.11, 0.06)],
        [(0.037, 0.037), (0.038, 0.038), (0.037, 0.037), (0.031, 0.031), (0.031, 0.031)],
        along((0.0, "leftLowerLeg"), (0.75, "leftLowerLeg"), (1.0, "leftFoot")),
    )
    shoe = ball("shoes", (x, 0.034, 0.026), (0.042, 0.036, 0.076), "leftFoot", rings=8)
    shoe.points = [(px, max(0.0, py), pz) for px, py, pz in shoe.points]
    ear = ball("skin", (0.163, 1.09, -0.005), (0.02, 0.03, 0.016), "head", rings=6)
    tie = ball("ribbon", (0.172, 1.178, -0.045), (0.03, 0.03, 0.032), "head", rings=6)
    left = [sleeve, arm, hand, thumb, leg, sock, shoe, ear, tail(), tie]
    fringe = [
        lock(0.0, 5.0, 17.0, 17.0), lock(-24.0, -4.0, 19.0, 15.0), lock(24.0, 6.0, 14.0, 15.0),
        lock(-46.0, -10.0, 4.0, 14.0), lock(46.0, 10.0, 4.0, 14.0),
        lock(-62.0, -6.0, -26.0, 12.0), lock(62.0, 6.0, -26.0, 12.0),
    ]  # fmt: skip
    nose = ball(
        "blush", (0.0, 1.066, on_face(0, 1.066, 0)[2]), (0.005, 0.0035, 0.003), "head", rings=4
    )
    return [
        head(), cap(), *fringe, nose, neck, torso, hem, collar, *bow,
        *left, *(mirrored(part) for part in left),
    ]  # fmt: skip


# --- the file ---


class Binary:
    """The binary part of a glTF file: arrays one after the other."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, object]] = []
        self.accessors: list[dict[str, object]] = []

    def zeros(self, count: int) -> int:
        """Points that are all zero; they take no room. The array's number."""
        self.accessors.append(
            {
                "componentType": 5126,
                "count": count,
                "type": "VEC3",
                "min": [0.0, 0.0, 0.0],
                "max": [0.0, 0.0, 0.0],
            }
        )
        return len(self.accessors) - 1

    def add(
        self,
        rows: Sequence[Sequence[float]],
        code: str,
        component: int,
        kind: str,
        *,
        target: int | None = None,
        bounds: bool = False,
        normalized: bool = False,
    ) -> int:
        """Append an array; its number.

        Args:
            rows: Its elements.
            code: Of a number, for `struct`.
            component: glTF's number for that (5126 float32, 5123 uint16, 5121 uint8).
            kind: glTF's name of an element ("VEC3").
            target: What it is for: 34962 points, 34963 indices.
            bounds: Write least and greatest values down, as positions need it.
            normalized: Whole numbers that stand for 0-1.
        """
        while len(self.data) % 4:
            self.data.append(0)
        packed = b"".join(struct.pack(f"<{len(row)}{code}", *row) for row in rows)
        view: dict[str, object] = {
            "buffer": 0, "byteOffset": len(self.data), "byteLength": len(packed),
        }  # fmt: skip
        if target is not None:
            view["target"] = target
        self.views.append(view)
        self.data += packed
        accessor: dict[str, object] = {
            "bufferView": len(self.views) - 1,
            "componentType": component,
            "count": len(rows),
            "type": kind,
        }
        if bounds:
            columns = list(zip(*rows, strict=True))
            accessor["min"] = [min(column) for column in columns]
            accessor["max"] = [max(column) for column in columns]
        if normalized:
            accessor["normalized"] = True
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def single(value: float) -> float:
    """As it is stored: rounded to 10 µm, so that every machine writes the same file."""
    found: float = struct.unpack("<f", struct.pack("<f", round(value, 5) + 0.0))[0]
    return found


def rounded(points: Sequence[Point]) -> list[Point]:
    """Points as stored."""
    return [(single(x), single(y), single(z)) for x, y, z in points]


def shares(weights: Weights) -> tuple[list[int], list[int]]:
    """Four bones and how much each counts, of 255 in all."""
    parts = sorted(
        ((share, NAMES.index(name)) for name, share in weights if share > 0), reverse=True
    )
    counts = [round(share * 255) for share, _ in parts]
    counts[0] += 255 - sum(counts)
    bones = [bone for _, bone in parts]
    return (bones + [0] * 4)[:4], (counts + [0] * 4)[:4]


def joined(parts: Sequence[Part]) -> dict[str, Part]:
    """One part per paint."""
    found: dict[str, Part] = {}
    for part in parts:
        normals = part.normals or normals_of(part.points, part.triangles)
        whole = found.setdefault(
            part.paint, Part(part.paint, [], [], [], {name: [] for name in part.morphs})
        )
        start = len(whole.points)
        whole.points += part.points
        whole.weights += part.weights
        whole.normals += normals
        whole.triangles += [(a + start, b + start, c + start) for a, b, c in part.triangles]
        for name, points in part.morphs.items():
            whole.morphs[name] += points
    return found


def moved(rest: Sequence[Point], points: Sequence[Point], binary: Binary) -> int:
    """How far each point goes in a blend shape, as an array of the file."""
    ways = rounded([minus(a, b) for a, b in zip(points, rest, strict=True)])
    if not any(any(way) for way in ways):
        return binary.zeros(len(ways))
    return binary.add(ways, "f", 5126, "VEC3", target=34962, bounds=True)


def primitives(parts: Sequence[Part], binary: Binary) -> list[dict[str, object]]:
    """The parts as glTF primitives."""
    materials = [paint.name for paint in PAINTS]
    found = []
    for paint, part in joined(parts).items():
        rest = rounded(part.points)
        stored = [shares(weights) for weights in part.weights]
        attributes = {
            "POSITION": binary.add(rest, "f", 5126, "VEC3", target=34962, bounds=True),
            "NORMAL": binary.add(rounded(part.normals), "f", 5126, "VEC3", target=34962),
            "JOINTS_0": binary.add([bones for bones, _ in stored], "B", 5121, "VEC4", target=34962),
            "WEIGHTS_0": binary.add(
                [counts for _, counts in stored], "B", 5121, "VEC4", target=34962, normalized=True
            ),
        }
        flat = [[index] for triangle in part.triangles for index in triangle]
        primitive: dict[str, object] = {
            "attributes": attributes,
            "indices": binary.add(flat, "H", 5123, "SCALAR", target=34963),
            "material": materials.index(paint),
            "mode": 4,
        }
        if part.morphs:
            primitive["targets"] = [
                {"POSITION": moved(rest, rounded(points), binary)}
                for points in part.morphs.values()
            ]
        found.append(primitive)
    return found


def linear(code: str) -> list[float]:
    """A colour "#RRGGBB" as glTF wants it: linear light, 0-1."""
    values = [int(code[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    return [
        round(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4, 4)
        for value in values
    ]


def material(paint: Paint) -> dict[str, object]:
    """A paint, as drawings are shaded: two tones and an outline."""
    toon: dict[str, object] = {
        "specVersion": "1.0",
        "shadeColorFactor": linear(paint.shade),
        "shadingShiftFactor": -0.1,
        "shadingToonyFactor": 0.92,
        "giEqualizationFactor": 0.9,
    }
    if paint.outline:
        toon |= {
            "outlineWidthMode": "worldCoordinates",
            "outlineWidthFactor": 0.0022,
            "outlineColorFactor": [round(value * 0.35, 4) for value in linear(paint.shade)],
            "outlineLightingMixFactor": 0.0,
        }
    return {
        "name": paint.name,
        "doubleSided": paint.both_sides,
        "pbrMetallicRoughness": {
            "baseColorFactor": [*linear(paint.lit), 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.9,
        },
        "extensions": {"VRMC_materials_mtoon": toon, "KHR_materials_unlit": {}},
    }  # fmt: skip


def expression(name: str, mesh_node: int) -> dict[str, object]:
    """One expression: its own blend shape, whole."""
    binds = [{"node": mesh_node, "index": list(MORPHS).index(name), "weight": 1.0}]
    found: dict[str, object] = {"morphTargetBinds": binds}
    if name in EYES_SHUT:
        found["overrideBlink"] = "block"
    if name == "love":
        eye = [paint.name for paint in PAINTS].index("eye")
        found["materialColorBinds"] = [
            {"material": eye, "type": kind, "targetValue": [*linear("#EE3C6B"), 1.0]}
            for kind in ("color", "shadeColor")
        ]
    return found


def figure() -> tuple[dict[str, object], bytes]:
    """The glTF document and its binary part."""
    binary = Binary()
    body = primitives(body_parts(), binary)
    face = primitives(face_parts(), binary)
    inverse = []
    for _, place in BONES.values():
        x, y, z = (single(-value) for value in place)
        inverse.append((1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, x, y, z, 1))
    matrices = binary.add(inverse, "f", 5126, "MAT4")
    nodes: list[dict[str, object]] = []
    for name, (parent, place) in BONES.items():
        above = BONES[parent][1] if parent else (0.0, 0.0, 0.0)
        node: dict[str, object] = {
            "name": name, "translation": [round(a - b, 5) for a, b in zip(place, above, strict=True)],
        }  # fmt: skip
        children = [NAMES.index(child) for child, (of, _) in BONES.items() if of == name]
        if children:
            node["children"] = children
        nodes.append(node)
    body_node, face_node = len(nodes), len(nodes) + 1
    nodes += [
        {"name": "Body", "mesh": 0, "skin": 0},
        {"name": "Face", "mesh": 1, "skin": 0},
    ]
    springs = [
        {
            "name": f"{side} tail",
            "joints": [
                {
                    "node": NAMES.index(f"{side}Tail{n}"),
                    "hitRadius": 0.03,
                    "stiffness": 0.9,
                    "gravityPower": 0.12,
                    "gravityDir": [0, -1, 0],
                    "dragForce": 0.42,
                }
                for n in range(4)
            ],
            "colliderGroups": [0],
        }
        for side in ("left", "right")
    ]
    vrm = {
        "specVersion": "1.0",
        "meta": {
            "name": "Nori",
            "version": "1.0",
            "authors": ["Luma"],
            "copyrightInformation": "Part of Luma, GPL-3.0-or-later",
            "licenseUrl": "https://vrm.dev/licenses/1.0/",
            "avatarPermission": "everyone",
            "commercialUsage": "corporation",
            "creditNotation": "unnecessary",
            "allowRedistribution": True,
            "modification": "allowModificationRedistribution",
        },
        "humanoid": {"humanBones": {name: {"node": NAMES.index(name)} for name in HUMANOID}},
        "firstPerson": {},
        "lookAt": {
            "offsetFromHeadBone": [0.0, 0.145, 0.1],
            "type": "bone",
            **{
                f"rangeMap{way}": {"inputMaxValue": 60.0, "outputScale": 6.0}
                for way in ("HorizontalInner", "HorizontalOuter", "VerticalDown", "VerticalUp")
            },
        },
        "expressions": {
            "preset": {name: expression(name, face_node) for name in PRESETS},
            "custom": {name: expression(name, face_node) for name in CUSTOM},
        },
    }
    document: dict[str, object] = {
        "asset": {"version": "2.0", "generator": "Luma, scripts/make_vrm.py"},
        "extensionsUsed": [
            "VRMC_vrm", "VRMC_springBone", "VRMC_materials_mtoon", "KHR_materials_unlit",
        ],
        "extensions": {
            "VRMC_vrm": vrm,
            "VRMC_springBone": {
                "specVersion": "1.0",
                "colliders": [
                    {"node": NAMES.index("head"),
                     "shape": {"sphere": {"offset": [0.0, 0.145, 0.0], "radius": 0.15}}},
                    {"node": NAMES.index("chest"),
                     "shape": {"sphere": {"offset": [0.0, 0.04, 0.0], "radius": 0.09}}},
                ],
                "colliderGroups": [{"name": "figure", "colliders": [0, 1]}],
                "springs": springs,
            },
        },
        "scene": 0,
        "scenes": [{"nodes": [0, body_node, face_node]}],
        "nodes": nodes,
        "skins": [
            {"joints": list(range(len(NAMES))), "inverseBindMatrices": matrices, "skeleton": 0}
        ],
        "meshes": [
            {"name": "Body", "primitives": body},
            {"name": "Face", "primitives": face, "extras": {"targetNames": list(MORPHS)}},
        ],
        "materials": [material(paint) for paint in PAINTS],
        "accessors": binary.accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
    }  # fmt: skip
    return document, bytes(binary.data)


def packed(document: dict[str, object], data: bytes) -> bytes:
    """A GLB file."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    data += b"\0" * (-len(data) % 4)
    whole = 12 + 8 + len(text) + 8 + len(data)
    return (
        struct.pack("<4sII", b"glTF", 2, whole)
        + struct.pack("<I4s", len(text), b"JSON") + text
        + struct.pack("<I4s", len(data), b"BIN\0") + data
    )  # fmt: skip


def main() -> int:
    """Write the file."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    document, data = figure()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(packed(document, data))
    print(f"{target}: {target.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
