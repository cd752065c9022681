"""The configuration at a glance: every setting with its value, where it comes from, and an edit in place where that works."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial

from backend.contracts.settings import SettingInfo, SettingValue
from frontend.setting_names import TITLES
from frontend.theme import Theme
from frontend.widgets.field import Field
from frontend.widgets.panel import Panel
from frontend.widgets.popup import Choice, Picker
from frontend.widgets.tooltip import Tooltip

HEAD = 44
ROW = 26
GROUP = 30
NAME = 176
TWO_COLUMNS = 640
Save = Callable[[str, object], None]


class ConfigCard(Panel):
    """The card; the rows scroll inside it.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        save: Called with a setting's name and its new value.
        open_settings: Called with the name of a setting to be edited in the settings window, or "".
        retry: Load again after a failure.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        *,
        save: Save,
        open_settings: Callable[[str], None],
        retry: Callable[[], None],
    ) -> None:
        super().__init__(master, theme)
        self.settings: list[SettingInfo] = []
        self.problem = ""
        self.is_loaded = False
        self._open_settings = open_settings
        self._retry = retry
        self.rows = _Rows(self, theme, save, open_settings)

    def show(self, settings: Sequence[SettingInfo], problem: str = "") -> None:
        """Show the settings as they are now."""
        self.settings = list(settings)
        self.problem = problem
        self.is_loaded = True
        self.changed()
        self.rows.changed()

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width, height = p.width, p.height
        p.card(0, 0, width, height)
        p.text(16, 21, "Configuration", "bodyb")
        used = self.button(
            "edit", width - 14, 8, "Edit settings", lambda: self._open_settings(""), icon="gear",
            height=26, anchor="e", tip="Ctrl+,",
        )  # fmt: skip
        start = 26 + p.text_width("Configuration", "bodyb")
        room = width - used - 22 - start
        if room > 60:
            p.text(start, 21.5, "changes apply at once unless marked", "small", "text3", clip=room)
        if self.settings:
            self.rows.place(
                x=t.px(8),
                y=t.px(HEAD),
                width=max(1, t.px(width - 16)),
                height=max(1, t.px(height - HEAD - 8)),
            )
            return
        self.rows.place_forget()
        middle = max(70.0, height / 2)
        if not self.is_loaded:
            p.text(width / 2, middle, "Loading the settings.", "small", "text3", "center")
            return
        p.text(
            width / 2,
            middle,
            self.problem or "No settings.",
            "small",
            "text2",
            "center",
            clip=width - 40,
        )
        wide = p.text_width("Try again", "small") + 24
        self.button("retry", (width - wide) / 2, middle + 16, "Try again", self._retry)


class _Rows(Panel):
    """The settings by group, in one or two columns."""

    def __init__(
        self, card: ConfigCard, theme: Theme, save: Save, open_settings: Callable[[str], None]
    ) -> None:
        super().__init__(card, theme, "surface")
        self.card = card
        self._save = save
        self._open_settings = open_settings
        self._field: Field | None = None

    def paint(self) -> None:
        width = self.painter.width - 12
        groups: dict[str, list[SettingInfo]] = {}
        for setting in self.card.settings:
            groups.setdefault(setting.group, []).append(setting)
        columns = 2 if width >= TWO_COLUMNS else 1
        wide = width / columns
        name_width = min(NAME, wide * 0.42)
        y = 0.0
        for group, settings in groups.items():
            self.painter.text(8, y + GROUP / 2 + 2, group, "smallb", "text2")
            y += GROUP
            for number, setting in enumerate(settings):
                x = 8 + (number % columns) * wide
                top = y + (number // columns) * ROW
                self._paint_setting(setting, x, top, wide - 16, name_width)
            y += -(-len(settings) // columns) * ROW + 4
        self.content_height = y

    def _paint_setting(
        self, setting: SettingInfo, x: float, y: float, width: float, name_width: float
    ) -> None:
        p = self.painter
        middle = y + ROW / 2
        value_x = x + name_width + 4
        room = width - name_width - 4
        # A locked one is opened in the settings window, which says what locks it and where.
        press: Callable[[], object] = partial(self._open_settings, setting.name)
        if not setting.locked:
            press = partial(self._edit, setting, value_x, y, room)
        why = setting.locked or f"{setting.allowed}\nSet by: {setting.origin}"
        tip = f"{setting.name}: {setting.meaning}\n{why}"
        zone = self.zone(f"set:{setting.name}", x - 6, y, width + 8, ROW, press, tip=tip, radius=4)
        self._backing(zone, None, None, 4)
        p.text(x, middle, name_in_words(setting.name), "small", "text3", clip=name_width - 4)
        chips: list[tuple[str, str]] = []
        if setting.restart_needed:
            chips.append(("after restart", ""))
        if setting.secret and setting.value:
            chips.append(("masked", ""))
        chip_room = sum(p.text_width(words, "cap") + 22 for words, _ in chips)
        if setting.locked:
            chip_room += 20
        if chip_room > room - 60:
            chips, chip_room = [], 20 if setting.locked else 0
        if setting.kind == "switch":
            on = setting.value is True
            self.switch(
                f"switch:{setting.name}", value_x, middle, on,
                None if setting.locked else partial(self._save, setting.name, not on), tip,
            )  # fmt: skip
            at = value_x + 50
        else:
            text, color = value_in_words(setting.value)
            shown = p.text_width(text, "small")
            clip = max(20.0, room - chip_room - 4)
            p.text(value_x, middle, text, "small", color, clip=clip if shown > clip else 0)
            at = value_x + min(shown, clip) + 10
        if setting.locked:
            p.icon(at + 6, middle, "lock", 13, "text3")
            at += 20
        for words, _ in chips:
            at += p.chip(at, middle, words, "text3", "raised", height=17, pad=7) + 6

    def _edit(self, setting: SettingInfo, x: float, y: float, width: float) -> None:
        """Change a setting where it stands; what needs more than a line goes to the settings window."""
        if setting.kind == "switch":
            self._save(setting.name, setting.value is not True)
        elif setting.kind == "choice" and setting.choices:
            self._pick(setting, x, y, width)
        elif setting.kind in ("text", "number", "integer"):
            self._type(setting, x, y, width)
        else:
            self._open_settings(setting.name)

    def _pick(self, setting: SettingInfo, x: float, y: float, width: float) -> None:
        t = self.theme
        # The list opens below an invisible mark on the row, as it would below a drop-down.
        mark = tk.Frame(self, width=1, height=1)
        mark.place(
            x=t.px(x),
            y=t.px(y) - round(self.canvasy(0)),
            width=t.px(min(width, 200)),
            height=t.px(ROW),
        )
        t.tint(mark, background="surface")
        tk.Misc.lower(mark)
        self.update_idletasks()

        def chosen(value: str) -> None:
            if value != setting.value:
                self._save(setting.name, value)

        choices = [Choice(value, value or "(empty)") for value in setting.choices]
        picker = Picker(mark, t, choices, chosen, value=str(setting.value or ""))
        picker.bind(
            "<Destroy>", lambda event: mark.destroy() if event.widget is picker else None, add="+"
        )

    def _type(self, setting: SettingInfo, x: float, y: float, width: float) -> None:
        self._stop_typing()
        t = self.theme
        field = self._field = Field(
            self,
            t,
            width=width,
            height=ROW,
            surface="surface",
            label=setting.name,
            on_enter=lambda text: self._typed(setting, text),
        )
        field.set("" if setting.value is None else str(setting.value))
        top = t.px(y) - round(self.canvasy(0))
        field.place(x=t.px(x - 8), y=top, width=t.px(min(width, 260)), height=t.px(ROW))
        field.entry.bind("<Escape>", lambda event: self._stop_typing())
        field.entry.bind("<FocusOut>", lambda event: self._stop_typing(), add="+")
        self._tip_of_field = Tooltip(field.entry, t, setting.allowed)
        field.entry.focus_set()
        field.entry.selection_range(0, "end")

    def _typed(self, setting: SettingInfo, text: str) -> None:
        value: object = text
        if setting.kind in ("number", "integer"):
            number = read_number(text, whole=setting.kind == "integer")
            if number is None and self._field is not None:
                self._field.mark(True)
                return
            value = number
        self._stop_typing()
        self.focus_set()
        self._save(setting.name, value)

    def _stop_typing(self) -> str:
        if self._field is not None:
            self._field.destroy()
            self._field = None
        return "break"


def read_number(text: str, *, whole: bool) -> int | float | None:
    """What a person typed as a number, None when it is none."""
    try:
        return int(text.strip()) if whole else float(text.strip().replace(",", "."))
    except ValueError:
        return None


WORDS = {
    "LLM": "LLM", "TTS": "TTS", "STT": "STT", "API": "API", "GPU": "GPU", "URL": "URL", "CORS": "CORS",
    "OPENAI": "OpenAI", "OPENROUTER": "OpenRouter", "OLLAMA": "Ollama", "ANTHROPIC": "Anthropic",
    "LMSTUDIO": "LM Studio", "LLAMACPP": "llama.cpp", "PIPER": "Piper", "WHISPER": "Whisper", "TLS": "TLS",
    "OBS": "OBS", "ID": "ID",
}  # fmt: skip

UNITS = {"s": "(s)", "ms": "(ms)", "hz": "(Hz)", "kb": "(kB)", "mb": "(MB)", "gb": "(GB)"}


def name_in_words(name: str) -> str:
    """A setting's name for people: LLM_PROVIDER is "LLM provider"."""
    if name in TITLES:
        return TITLES[name]
    parts = [WORDS.get(part, part.lower()) for part in name.split("_")]
    if len(parts) > 1 and parts[-1] in UNITS:
        parts[-1] = UNITS[parts[-1]]
    first = parts[0]
    parts[0] = first if first != first.lower() else first.capitalize()
    return " ".join(parts)


def value_in_words(value: SettingValue) -> tuple[str, str]:
    """A value as it is shown, and its colour."""
    if value is None or value in ("", ()):
        return "not set", "text3"
    if isinstance(value, bool):
        return ("on" if value else "off"), "text"
    if isinstance(value, tuple):
        return " \u2192 ".join(value), "text"
    if isinstance(value, float):
        return f"{value:g}", "text"
    return str(value), "text"
