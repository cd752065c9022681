"""Grey spectrograms from the backend, coloured and fitted; pure Pillow, for the page's worker thread."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from frontend.theme import SPECTRUM, ThemeName, mix, rgb

LARGEST_PIXELS = 4096 * 1024


def coloured(
    png: bytes, width: int, height: int, theme: ThemeName, part: tuple[float, float] = (0.0, 1.0)
) -> Image.Image:
    """A picture of exactly ``width`` x ``height`` pixels in the theme's colours.

    Args:
        png: 8-bit grey, silence 0, loudest 255.
        width: Pixels.
        height: Pixels.
        theme: Whose colours.
        part: Which share of it along the time axis, from and to.

    Raises:
        ValueError: If the bytes are no picture, or one of a size nobody asked for.
    """
    try:
        with Image.open(BytesIO(png), formats=("PNG",)) as source:
            if source.width * source.height > LARGEST_PIXELS:
                raise ValueError(f"a spectrogram of {source.width} x {source.height} is too large")
            grey = source.convert("L")
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError("the spectrogram is no PNG") from error
    left, right = (round(share * grey.width) for share in part)
    if (left, right) != (0, grey.width):
        grey = grey.crop((left, 0, max(left + 1, right), grey.height))
    if grey.size != (width, height):
        grey = grey.resize((max(1, width), max(1, height)), Image.Resampling.BILINEAR)
    grey.putpalette(palette(theme))
    return grey.convert("RGB")


def palette(theme: ThemeName) -> list[int]:
    """256 colours as red, green, blue, … from the theme's stops."""
    stops = SPECTRUM[theme]
    found: list[int] = []
    for value in range(256):
        at = value / 255 * (len(stops) - 1)
        low = min(len(stops) - 2, int(at))
        found += rgb(mix(stops[low], stops[low + 1], at - low))
    return found
