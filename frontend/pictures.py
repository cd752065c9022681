"""Avatars: fetched once, cut round, and put into pictures that are already on screen.

A picture is handed out at once, with a stand-in if the file is still on its way; when it arrives, the same picture gets
its pixels, so nobody has to be told.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Literal
from urllib.parse import quote

from PIL import Image, ImageTk

from frontend.client import BackendClient, Failure
from frontend.draw import icon_image, photo, round_picture, rounded_box
from frontend.theme import Theme

logger = logging.getLogger(__name__)

NEUTRAL = "neutral"
MOST_FILES = 200

Part = Literal["whole", "top", "bottom"]


class Avatars:
    """All avatars of one window."""

    def __init__(self, client: BackendClient, theme: Theme) -> None:
        self._client = client
        self._theme = theme
        self._files: dict[tuple[str, str], bytes | None] = {}
        self._shown: dict[
            tuple[str, str], list[tuple[ImageTk.PhotoImage, int, Part, int, int]]
        ] = {}

    def picture(
        self,
        character_id: str,
        expression: str,
        size: float,
        part: Part = "whole",
        *,
        cut: int = 0,
        width: int = 0,
    ) -> ImageTk.PhotoImage:
        """A round avatar of ``size`` design pixels.

        Args:
            character_id: Whose; empty gives the stand-in for a person.
            expression: Which face; one that has no picture shows the neutral one.
            size: Diameter.
            part: A message's avatar reaches over two lines of text, so it comes in two halves.
            cut: Real pixels in the top half.
            width: Real pixels to pad to at the right.
        """
        theme = self._theme
        real = theme.px(size)
        key = ("avatar", character_id, expression, real, part, cut, width, theme.name)
        known = key in theme.images
        found = photo(
            theme, key, lambda: self._image(character_id, expression, real, part, cut, width)
        )
        if not known and character_id:
            entry = (found, real, part, cut, width)
            self._shown.setdefault((character_id, expression), []).append(entry)
            self._want(character_id, expression)
        return found

    def forget(self, character_id: str) -> None:
        """Fetch a character's pictures again when next shown."""
        for key in [key for key in self._files if key[0] == character_id]:
            del self._files[key]
        for shown, expression in [key for key in self._shown if key[0] == character_id]:
            self._want(shown, expression)

    def drop_pictures(self) -> None:
        """Forget what was drawn, after a change of theme or scale; the files stay."""
        self._shown.clear()

    def _want(self, character_id: str, expression: str) -> None:
        key = (character_id, expression)
        if key in self._files:
            return
        if len(self._files) >= MOST_FILES:
            self._files.pop(next(iter(self._files)))
        self._files[key] = None
        path = f"/api/avatars/{quote(character_id, safe='')}/{quote(expression, safe='')}.png"
        self._client.download(path, partial(self._arrived, key), partial(self._missing, key))

    def _missing(self, key: tuple[str, str], failure: Failure) -> None:
        character_id, expression = key
        if failure.status == 0:
            self._files.pop(key, None)  # no answer at all: ask again next time
        elif expression != NEUTRAL:
            self._want(character_id, NEUTRAL)
            data = self._files.get((character_id, NEUTRAL))
            if data:
                self._arrived(key, data)
        logger.debug("no picture of %s %s: %s", character_id, expression, failure.message)

    def _arrived(self, key: tuple[str, str], data: bytes) -> None:
        self._files[key] = data
        keys = [key]
        if key[1] == NEUTRAL:  # also the stand-in of faces that have no picture
            keys += [k for k, v in self._files.items() if k[0] == key[0] and not v]
        for each in keys:
            for picture, real, part, cut, width in self._shown.get(each, []):
                try:
                    picture.paste(self._cut(round_picture(data, real), real, part, cut, width))
                except OSError as error:
                    logger.warning("the picture of %s cannot be read: %s", each[0], error)
                    return

    def _image(
        self, character_id: str, expression: str, real: int, part: Part, cut: int, width: int
    ) -> Image.Image:
        data = self._files.get((character_id, expression)) or self._files.get(
            (character_id, NEUTRAL)
        )
        image: Image.Image | None = None
        if data:
            try:
                image = round_picture(data, real)
            except OSError as error:
                logger.warning("the picture of %s cannot be read: %s", character_id, error)
        if image is None:
            theme = self._theme
            fill = theme.mix("prompt" if not character_id else "llm", "bg", 0.6)
            image = rounded_box(real, real, real // 2, fill, None, 1)
            mark = icon_image("person", round(real * 0.56), theme.color("text"), 1.7 * theme.scale)
            offset = (real - mark.width) // 2
            image.alpha_composite(mark, (offset, offset))
        return self._cut(image, real, part, cut, width)

    def _cut(self, image: Image.Image, real: int, part: Part, cut: int, width: int) -> Image.Image:
        """One half, padded; the bottom half begins where the top one ends."""
        if part == "top":
            image = image.crop((0, 0, real, cut))
        elif part == "bottom":
            image = image.crop((0, cut, real, real))
        if width <= real:
            return image
        out = Image.new("RGBA", (width, image.height), (0, 0, 0, 0))
        out.paste(image, (0, 0))
        return out
