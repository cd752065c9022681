"""The level of a microphone: colours that say how loud one should speak."""

from __future__ import annotations

from frontend.widgets.controls import Meter


class LevelMeter(Meter):
    """A meter whose colours say how loud one should speak: grey is too quiet, green is right, red is too loud."""

    GOOD_DB = -40.0
    LOUD_DB = -6.0
    CLIPPED_DB = -2.0

    def _colour(self, number: int, lit: bool) -> str:
        level = self.FLOOR_DB * (1 - number / max(1, len(self._bars)))
        limits = ((self.CLIPPED_DB, "error"), (self.LOUD_DB, "warn"), (self.GOOD_DB, "ok"))
        token = next((token for limit, token in limits if level >= limit), "text3")
        t = self._theme
        return t.color(token) if lit else t.mix(token, self._surface, 0.82)
