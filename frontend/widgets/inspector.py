"""The panel right of the chat: the chosen turn, the voice and its loudness, the face."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable

from backend.contracts.entities import Character
from frontend.microphone import setting_of
from frontend.stage import SILENCE_DB, Stage
from frontend.theme import Theme
from frontend.widgets.chip_flow import ChipFlow
from frontend.widgets.controls import Button, Dropdown, Meter, Slider, Words, picture_label
from frontend.widgets.popup import Choice
from frontend.widgets.scroll_frame import ScrollFrame
from frontend.widgets.turn_panel import Comparison, TurnPanel, TurnView

WIDTH = 316
PAD = 20
SYSTEM = "System default"
MOST_CHIPS = 24


class Inspector(tk.Frame):
    """The whole panel; `show_turn` fills its upper part, the rest follows the stage."""

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        stage: Stage,
        *,
        change_voice: Callable[[], object],
        open_sound: Callable[[], object],
        open_setting: Callable[[str], object],
        open_avatar: Callable[[], object],
    ) -> None:
        super().__init__(master, width=theme.px(WIDTH))
        self.pack_propagate(False)
        self._theme = theme
        self._stage = stage
        self._surface = "rail" if theme.name == "dark" else "surface"
        surface = self._surface
        px = theme.px
        theme.tint(self, background=surface)
        edge = tk.Frame(self, width=1)
        theme.tint(edge, background="line")
        edge.pack(side="left", fill="y")
        self._scroll = ScrollFrame(self, theme, surface)
        self._scroll.pack(side="left", fill="both", expand=True)
        body = self._scroll.inner
        self.turn = TurnPanel(
            body,
            theme,
            surface,
            setting_of=lambda detail: setting_of(detail, stage.settings),
            open_setting=open_setting,
        )
        self.turn.pack(fill="x")
        self._line(body)
        head = self._row(body, 8, right=12)
        Words(head, theme, "Voice", "bodyb", "text", surface).pack(side="left")
        Button(
            head,
            theme,
            "Change",
            change_voice,
            kind="plain",
            color="accent",
            surface=surface,
            height=24,
            tip="Voices on this machine",
        ).pack(side="right")
        voice = self._row(body, 2)
        picture_label(voice, theme, "voice", 16, "accent", surface).pack(side="left")
        self._voice = Words(voice, theme, "", "small", "text", surface)
        self._voice.pack(side="left", fill="x", expand=True, padx=(px(10), 0))
        loud = self._row(body, 4, left=7)
        self._mute = Button(
            loud,
            theme,
            icon="volume",
            kind="plain",
            surface=surface,
            height=24,
            icon_size=16,
            label="Mute",
            command=lambda: stage.set_muted(not stage.muted),
        )
        self._mute.pack(side="left", padx=(0, px(2)))
        self._percent = Words(loud, theme, "", "cap", "text2", surface, "e")
        self._percent.configure(width=6)
        self._percent.pack(side="right")
        self._volume = Slider(
            loud, theme, stage.set_volume, width=150, surface=surface, label="Volume"
        )
        self._volume.pack(side="left", fill="x", expand=True)
        device = self._row(body, 4, left=3, right=3)
        Button(
            device,
            theme,
            icon="gear",
            kind="plain",
            surface=surface,
            height=28,
            icon_size=16,
            label="Microphone and sound",
            tip="Microphone and sound   Ctrl+Shift+S",
            command=open_sound,
        ).pack(side="right")
        self._device = Dropdown(
            device,
            theme,
            (),
            stage.set_device,
            width=200,
            surface=surface,
            label="Output device",
            tip="Where the stage is heard",
            empty=SYSTEM,
        )
        self._device.pack(fill="x", expand=True, padx=(0, 0))
        self._trouble = tk.Label(
            body,
            font=theme.font("cap"),
            justify="left",
            anchor="w",
            wraplength=px(WIDTH - 2 * PAD - 14),
            borderwidth=0,
        )
        theme.tint(self._trouble, background=surface, foreground="warn")
        level = self._level_row = self._row(body, 4)
        Words(level, theme, "Level", "cap", "text3", surface).pack(side="left")
        self._figure = Words(level, theme, "", "monos", "text2", surface, "e")
        self._figure.pack(side="right", fill="x", expand=True)
        self._meter = Meter(body, theme, width=276, height=12, surface=surface, step=6)
        self._meter.pack(fill="x", padx=(px(PAD), px(PAD - 8)), pady=(px(4), px(12)))
        self._line(body)
        face = self._row(body, 8, right=12)
        Words(face, theme, "Expression", "bodyb", "text", surface).pack(side="left")
        Button(
            face,
            theme,
            "Avatar",
            open_avatar,
            kind="plain",
            color="accent",
            surface=surface,
            height=24,
            tip="Faces, motions, and who wanted what   Ctrl+3",
        ).pack(side="right")
        self._chips = ChipFlow(
            body,
            theme,
            stage.show_expression,
            surface=surface,
            tip=_expression_tip,
            width=WIDTH - 2 * PAD + 6,
        )
        self._chips.pack(fill="x", padx=(px(PAD - 3), px(PAD - 11)), pady=(px(4), px(16)))
        self._ends = [
            stage.listen(("sound",), self._show_sound),
            stage.listen(("level",), self._show_level),
            stage.listen(("characters", "character"), self._show_character),
            stage.listen(("expression",), self._show_expression),
        ]
        self.bind("<Destroy>", self._gone, add="+")
        theme.on_change(self, self._retint)
        self._show_sound()
        self._show_level()
        self._show_character()

    def show_turn(self, view: TurnView | None, comparison: Comparison) -> None:
        """Show a turn."""
        self.turn.show(view, comparison)

    def show_spoken(self, engine: str, voice: str) -> None:
        """The voice that spoke last, as the engine names it."""
        self._spoken = (engine, voice)
        self._show_character()

    _spoken: tuple[str, str] = ("", "")

    def _gone(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self:
            for end in self._ends:
                end()

    def _retint(self) -> None:
        """The panel is rail in the dark and surface in the light: everything on it must follow."""
        surface = "rail" if self._theme.name == "dark" else "surface"
        if surface == self._surface:
            return
        old, self._surface = self._surface, surface
        self._theme.resurface(self, old, surface)

    def _row(self, master: tk.Misc, above: float, left: float = 0, right: float = 0) -> tk.Frame:
        """A line of the panel; controls with air of their own ask for less beside them."""
        px = self._theme.px
        row = tk.Frame(master)
        self._theme.tint(row, background=self._surface)
        row.pack(fill="x", padx=(px(PAD - left), px(PAD - 8 - right)), pady=(px(above), 0))
        return row

    def _line(self, master: tk.Misc) -> None:
        line = tk.Frame(master, height=1)
        self._theme.tint(line, background="line")
        line.pack(fill="x", pady=(self._theme.px(8), self._theme.px(4)))

    def _show_sound(self) -> None:
        stage = self._stage
        self._mute.set(icon="muted" if stage.muted else "volume")
        self._mute.label = "Unmute" if stage.muted else "Mute"
        self._volume.set(stage.volume)
        self._percent.show("muted" if stage.muted else f"{stage.volume * 100:.0f} %")
        choices = [Choice("", SYSTEM)] + [
            Choice(name, name) for name in stage.devices if name != SYSTEM
        ]
        if stage.device and stage.device not in stage.devices:
            choices.append(Choice(stage.device, stage.device, "not connected"))
        self._device.set_choices(choices, stage.device)
        trouble = stage.device_trouble
        if not trouble and stage.sink == "none":
            trouble = "AUDIO_SINK is none: replies are text only."
        self._trouble.configure(text=trouble)
        if trouble:
            self._trouble.pack(fill="x", padx=self._theme.px(PAD), before=self._level_row)
        else:
            self._trouble.pack_forget()
        self._show_level()

    def _show_level(self) -> None:
        level = self._stage.level_db
        self._meter.show(level)
        self._figure.show(f"\u2212{abs(level):.0f} dB" if level > SILENCE_DB else "silent")

    def _show_character(self) -> None:
        character = self._stage.character
        self._voice.show(_voice_words(character, self._spoken))
        names = ("neutral", *(character.expressions if character else ()))
        names = tuple(dict.fromkeys(names))[:MOST_CHIPS] if character else ()
        self._chips.show(names, self._stage.expression)

    def _show_expression(self) -> None:
        self._chips.mark(self._stage.expression)


def _expression_tip(name: str) -> str:
    return f"Show {name} for five seconds" if name != "neutral" else "Neutral face"


def _voice_words(character: Character | None, spoken: tuple[str, str]) -> str:
    """The voice in words: what the character asks for, else what spoke last."""
    if character is None:
        return "No character yet"
    choice = character.voice
    engine, voice = spoken
    name = choice.name or voice or "chosen by itself"
    by = choice.engine or engine
    return f"{name}  \u00b7  {by}" if by else name
