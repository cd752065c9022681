"""Draw the avatars of the built-in characters, every expression: python scripts/make_avatars.py [folder] [id …].

Faces and heads are those of faces.py; here are the pixels, and what stands round a head. Everything is drawn three times as
large and shrunk, so edges are smooth. The result is what lies in backend/chat/builtin/avatars.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from backend.chat.builtin import EXPRESSIONS
from scripts import faces
from scripts.faces import (
    FOX,
    GRID,
    OWL,
    RABBIT,
    ROBOT,
    Canvas,
    M,
    Point,
    bent,
    oval,
    spline,
    star,
)

TARGET = ROOT / "backend" / "chat" / "builtin" / "avatars"
SCALE = 3
COLOURS = 160  # palette of the saved files


def rgb(code: str, alpha: int | None = None) -> tuple[int, ...]:
    """A colour of "#RRGGBB"."""
    values = tuple(int(code[n : n + 2], 16) for n in (1, 3, 5))
    return values if alpha is None else (*values, alpha)


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


def glow(art: Canvas[M], x: float, y: float, r: float, colour: str, alpha: float = 0.6) -> None:
    """Soft light."""
    art.fill(oval(x, y, r, r), colour, blur=r * 0.45, alpha=alpha)


# --- the four -----------------------------------------------------------------------------------------------------

FRAME: list[Point] = [(0, 0), (GRID, 0), (GRID, GRID), (0, GRID)]


def hoshi(mood: str) -> Art:
    """A copper star fox before the night sky."""
    art = Art()
    ink = FOX.ink
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
    for side in (-1, 1):
        faces.fox_ear(art, side, droop)
    scarf = spline(
        [(96, 540), (116, 462), (180, 430), (256, 440), (332, 430), (396, 462), (416, 540)]
    )
    inside = art.shape(scarf, "#35479B", "#202C6B", line=ink)
    art.fill(oval(256, 420, 140, 40), "#10153A", clip=inside, blur=10, alpha=0.5)
    faces.fox_head(art)
    faces.blush(art, FOX, mood)
    faces.eyes(art, FOX, mood)
    faces.fox_nose(art)
    faces.mouth(art, FOX, mood)
    faces.fox_pin(art)
    art.shape(star(256, 484, 26), "#FFE98A", "#FFC02E", line=ink, width=4)
    faces.signs(art, FOX, mood)
    return art


def sumi(mood: str) -> Art:
    """A plum owl with golden spectacles in a lamplit library."""
    art = Art()
    ink = OWL.ink
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
    art.shape(body, "#6E4A86", "#3E2858", line=ink)
    droop = {"sad": 26, "shy": 20, "sleepy": 22}.get(
        mood, -12 if mood in ("surprised", "angry") else 0
    )
    for side in (-1, 1):
        faces.owl_tuft(art, side, droop)
    faces.owl_head(art)
    for row, count in ((478, 4), (504, 5)):
        for n in range(count):
            at = 256 + (n - (count - 1) / 2) * 46
            art.stroke(
                spline([(at - 15, row), (at, row + 15), (at + 15, row)], closed=False, steps=6),
                "#B58FCB",
                5,
            )
    faces.blush(art, OWL, mood)
    faces.eyes(art, OWL, mood)
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
    faces.owl_beak(art, (256 + tilt, 398 - open_beak * 0.5))
    faces.owl_spectacles(art)
    bow = [
        bent(((256, 474), 0.1), ((196, 446), 0.2), ((196, 504), 0.1)),
        bent(((256, 474), 0.1), ((316, 504), 0.2), ((316, 446), 0.1)),
    ]
    for points in bow:
        art.shape(points, "#C8465E", "#8E2740", line=ink, width=5)
    art.shape(oval(256, 474, 15, 16), "#E0607A", "#A8324C", line=ink, width=5)
    faces.signs(art, OWL, mood)
    return art


def nemu(mood: str) -> Art:
    """A white moon rabbit with paint on her ear, before a lilac dusk."""
    art = Art()
    ink = RABBIT.ink
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
    faces.rabbit_ear(art, -1, low, is_painted=True)
    if mood in ("surprised", "joy"):
        faces.rabbit_ear(art, 1, low)
    else:
        faces.rabbit_flop(art)
    faces.rabbit_head(art)
    faces.blush(art, RABBIT, mood)
    faces.eyes(art, RABBIT, mood)
    faces.rabbit_nose(art)
    faces.mouth(art, RABBIT, mood)
    faces.rabbit_paint(art)
    ribbon = [
        bent(((256, 478), 0.1), ((204, 456), 0.25), ((206, 506), 0.1)),
        bent(((256, 478), 0.1), ((306, 506), 0.25), ((308, 456), 0.1)),
    ]
    for points in ribbon:
        art.shape(points, "#9C86E0", "#7460BE", line=ink, width=5)
    art.shape(oval(256, 478, 12, 13), "#B7A4F0", "#8A76D2", line=ink, width=5)
    faces.signs(art, RABBIT, mood)
    return art


def rivet(mood: str) -> Art:
    """A small mint robot whose face is a screen, before sea and lighthouse."""
    art = Art()
    ink = ROBOT.ink
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
        faces.robot_ear(art, side)
    screen = faces.robot_head(art)
    robot_face(art, mood, faces.LIGHTS.get(mood, faces.USUAL_LIGHT), screen)
    faces.robot_shine(art, screen)
    seven = [(238, 474), (274, 474), (250, 512)]
    art.stroke(seven, "#E5792B", 10)
    if mood in ("sleepy", "thinking", "surprised"):
        faces.signs(art, ROBOT, mood)
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
        if mood == "smug":
            shape = [(x - 34, y - 4), (x + 34, y - 4), (x + 28, y + 22), (x, y + 32), (x - 28, y + 22)]  # fmt: skip
            lit(spline(shape, steps=6))
            art.fill(
                [(x - 44, y - 44), (x + 44, y - 44), (x + 44, y + 1), (x - 44, y + 1)],
                "#0D2531",
                clip=screen,
            )
            lit([(x - 38, y - 2), (x + 38, y - 2)], 8)
        else:
            for points, width in faces.robot_eye(mood, side):
                lit(points, width)
        if mood in ("neutral", "shy", "thinking", "sad"):
            faces.robot_glint(art, mood, side, screen)
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
                lit(*faces.robot_tear())
        if mood in ("shy", "love", "joy"):
            for n in (-1, 0, 1):
                art.stroke(
                    [(x + side * 20 + n * 13 + 5, y + 50), (x + side * 20 + n * 13 - 4, y + 64)],
                    "#FF7FA6",
                    5,
                    clip=screen,
                )
    lit(*faces.robot_mouth(mood))


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
