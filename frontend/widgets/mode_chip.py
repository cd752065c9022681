"""Who answers, in the header: the mode and who writes in it; amber while another mode stands in for the chosen one."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable

from backend.contracts.modes import ModeName
from frontend.draw import Painter
from frontend.modes import ICONS, MEANINGS, TITLES, Modes
from frontend.stage import PROVIDER_TITLES, Stage
from frontend.theme import Theme
from frontend.widgets.controls import RING
from frontend.widgets.popup import Choice, Picker
from frontend.widgets.split_chip import ARROW, SplitChip

WIDEST = 250.0
SETTINGS = "\x00settings"
WINDOW = "\x00window"
USUAL_TIP = "Who writes the replies"


class ModeChip(SplitChip):
    """A chip with two parts: the left one opens the window of modes, the arrow the list of modes and providers."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        stage: Stage,
        modes: Modes,
        *,
        open_settings: Callable[[str], object],
        open_modes: Callable[[], object],
    ) -> None:
        self._stage = stage
        self._modes = modes
        self._open_settings = open_settings
        self._open_modes = open_modes
        self._is_short = False
        ends = (stage.listen(("provider",), self._changed), modes.listen(self._changed))
        super().__init__(master, theme, 120, label="Who answers", tip=USUAL_TIP, ends=ends)
        self._changed()

    @property
    def words(self) -> str:
        """What the chip says."""
        here = self._modes.here
        provider = self._stage.provider
        if here is None:
            return provider or "Starting"
        title = TITLES.get(here.mode, here.mode)
        if here.mode != here.chosen:
            return f"{title} stands in" if not self._is_short else title
        if here.mode == "external-api" and provider and not self._is_short:
            return f"{title}  \u00b7  {provider}"
        return title

    def shorten(self, is_short: bool) -> None:
        """Leave the provider out where there is little room."""
        if is_short != self._is_short:
            self._is_short = is_short
            self._changed()

    def paint(self, p: Painter, w: float, h: float) -> None:
        fill, edge, color = "hover" if self.hovered else "surface", "line", "text2"
        if self._is_amber:
            fill, edge, color = "warn_soft", "warn", "warn"
        p.box(RING, RING, w, h, fill, edge, h / 2)
        middle = RING + h / 2
        if self._is_amber:
            p.icon(RING + 15, middle, "warn", 14, "warn")
        else:
            p.dot(RING + 14, middle, 3.5, self.dot)
        p.text(RING + 25, middle - 0.5, self.words, "small", color, clip=w - 27 - ARROW)
        self.paint_arrow(p, w, h)

    def press(self) -> str:
        """Open the window of modes; the list where the backend knows none."""
        if self._modes.here is None:
            return self.open()
        self.tooltip.hide()
        self._open_modes()
        return "break"

    def open(self) -> str:
        """Show the modes and the providers."""
        choices: list[Choice] = []
        here, setting = self._modes.here, self._stage.settings.get("LLM_PROVIDER")
        if here is not None:
            choices.append(Choice("#modes", "Who answers", heading=True))
            for mode, title in TITLES.items():
                health = self._modes.health(mode)
                detail = health.detail if health is not None and health.detail else MEANINGS[mode]
                choices.append(Choice(f"mode:{mode}", title, detail[:110], ICONS[mode]))
            choices.append(Choice(WINDOW, "Modes: how they are, and why...", icon="status"))
        if setting is not None:
            if here is not None:
                choices.append(Choice("#providers", "Provider of the external API", heading=True))
            choices += [
                Choice(name, PROVIDER_TITLES.get(name, name), icon="chat")
                for name in setting.choices
            ]
            choices.append(Choice(SETTINGS, "Keys and models...", icon="gear"))
        if choices:
            self.tooltip.hide()
            value = (
                f"mode:{here.chosen}" if here is not None else str(setting.value if setting else "")
            )
            Picker(self, self.theme, choices, self._chosen, value=value, width=320)
        return "break"

    @property
    def _is_amber(self) -> bool:
        return self._modes.has_fallback and not self._stage.is_lost

    def _chosen(self, value: str) -> None:
        names: dict[str, ModeName] = {f"mode:{mode}": mode for mode in TITLES}
        here = self._modes.here
        if value in names:
            self._modes.choose(names[value], here_only=bool(here and here.is_own), cancels=False)
        elif value == SETTINGS:
            self._open_settings("LLM_PROVIDER")
        elif value == WINDOW:
            self._open_modes()
        else:
            self._stage.choose_provider(value)

    @property
    def dot(self) -> str:
        """Token of the state's colour."""
        stage = self._stage
        if stage.is_lost:
            return "text3"
        here = self._modes.here
        if here is not None:
            health = self._modes.health(here.mode)
            if health is not None and not health.is_available:
                return "error"
            if here.mode != "external-api":
                return "ok"
        service = stage.services.get("llm") or stage.services.get("chat")
        if service is None or not stage.provider:
            return "text3" if not stage.provider else "ok"
        return {"ready": "ok", "degraded": "warn", "failed": "error"}.get(service.state, "text3")

    def _changed(self) -> None:
        self.redraw_soon()
        here = self._modes.here
        service = self._stage.services.get("llm")
        tip = (service.error or service.detail if service else "") or USUAL_TIP
        if here is not None:
            title = TITLES.get(here.mode, here.mode)
            tip = f"{title} answers"
            if here.mode != here.chosen:
                tip += f" in place of {TITLES.get(here.chosen, here.chosen)}"
            tip += f": {here.reason}" if here.reason else ""
            if here.mode == "external-api" and service and service.error:
                tip += f". {service.error}"
        self.label = f"Who answers: {self.words}"
        self.tooltip.text = tip
        width = 27 + ARROW + self.theme.measure(self.words, "small") / self.theme.scale
        self.resize(min(WIDEST if not self._is_short else 170.0, width + 6))
