"""What can be set of a character: words, personality, voice, one picture per expression.

The form shows values and reports each change by its path in the character, ``("personality", "energy")``; who keeps and
saves them is the owner's business. Pictures act at once, they are files.
"""

from __future__ import annotations

import re
import tkinter as tk
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from backend.contracts.entities import Character, VoiceInfo
from frontend.draw import Painter
from frontend.pictures import NEUTRAL, Avatars
from frontend.theme import Theme
from frontend.widgets.controls import RING, Button, Control, Dropdown, Slider, Words
from frontend.widgets.field import Field
from frontend.widgets.popup import Choice, Picker
from frontend.widgets.text_box import TextBox
from frontend.widgets.voice_list import ENGINES

FieldPath = tuple[str, ...]

NEW_TRAIT = 0.6
MOST_TRAITS = 24
SLOWEST, FASTEST = 0.5, 2.0
LABEL = 112
_EXPRESSION = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

TEXTS: Mapping[str, Sequence[tuple[FieldPath, str, str, int]]] = {
    "Who": (
        (("profile",), "Profile", "Who is this, and what is their story?", 3),
        (("scenario",), "Scene", "Where you two are. {{user}} is you.", 2),
    ),
    "Talking": (
        (
            ("system_prompt",),
            "System prompt",
            "Instructions for the language model. {{char}} is the character, {{user}} you.",
            4,
        ),
        (("greeting",), "Greeting", "The first thing said. [joy] sets the face.", 2),
        (
            ("example_dialogue",),
            "Example dialogue",
            "<START>, then lines of {{user}}: and {{char}}:",
            3,
        ),
    ),
}
LISTS: Sequence[tuple[FieldPath, str, str]] = (
    (("personality", "quirks"), "Habits", "One per line: loses count, blames the kettle"),
    (("personality", "likes"), "Likes", "One per line"),
    (("personality", "dislikes"), "Dislikes", "One per line"),
)


def voice_key(engine: str, name: str) -> str:
    """A voice as one word for a drop-down."""
    return f"{engine}/{name}" if engine else ""


def value_at(character: Character, path: FieldPath) -> object:
    """The value a path leads to."""
    value: object = character
    for name in path:
        value = getattr(value, name)
    return value


def lines_of(text: str) -> tuple[str, ...]:
    """The entries of a list that is written one per line."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


class FaceTile(Control):
    """One expression: its picture and name; a press asks for another picture."""

    WIDTH, HEIGHT = 78.0, 88.0

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        avatars: Avatars,
        character_id: str,
        expression: str,
        command: Callable[[str], object],
    ) -> None:
        self._avatars = avatars
        self._character_id = character_id
        self._command = command
        self.expression = expression
        super().__init__(
            master,
            theme,
            self.WIDTH,
            self.HEIGHT,
            surface="surface",
            label=expression,
            tip=f"Choose a picture for {expression}: PNG, JPEG or WebP",
        )
        self.configure(cursor="hand2")
        self.bind("<ButtonRelease-1>", lambda _: self.invoke())
        for sequence in ("<space>", "<Return>", "<KP_Enter>"):
            self.bind(sequence, lambda _: self.invoke())

    def invoke(self) -> str:
        """Do what a click does."""
        self._command(self.expression)
        return "break"

    def paint(self, p: Painter, w: float, h: float) -> None:
        p.box(RING, RING, w, h, "hover" if self.hovered else "raised", None, 8)
        picture = self._avatars.picture(self._character_id, self.expression, 52)
        p.image(RING + w / 2, RING + 6, picture, "n")
        room = w - 10
        wide = p.text_width(self.expression, "cap")
        start = RING + max(5.0, (w - wide) / 2)
        p.text(start, RING + h - 14, self.expression, "cap", "text2", clip=room)


class _VoiceDropdown(Dropdown):
    """Two hundred voices are found by typing, not by scrolling."""

    def open(self) -> str:
        if self.enabled and self.choices:
            self.tooltip.hide()
            search = "Find a voice"
            Picker(self, self.theme, self.choices, self._chosen, value=self.value, search=search)
        return "break"


class CharacterForm(tk.Frame):
    """The form.

    Args:
        master: The frame it is packed into.
        theme: Colours, fonts and sizes.
        avatars: Pictures of the characters.
        changed: Called with a path and its new value.
        hear: Say the greeting with the voice as it is set now.
        picture: Ask for a picture of an expression.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        avatars: Avatars,
        *,
        changed: Callable[[FieldPath, object], object],
        hear: Callable[[], object],
        picture: Callable[[str], object],
    ) -> None:
        super().__init__(master)
        self._theme = theme
        self._avatars = avatars
        self._changed = changed
        self._picture = picture
        self._character: Character | None = None
        self._traits: dict[str, float] = {}
        self.texts: dict[FieldPath, TextBox] = {}
        self.sliders: dict[FieldPath, Slider] = {}
        self.trait_sliders: dict[str, Slider] = {}
        self.faces: dict[str, FaceTile] = {}
        self._figures: dict[FieldPath, Words] = {}
        self._faces_of: tuple[str, tuple[str, ...]] = ("", ())
        theme.tint(self, background="bg")
        self._build_who()
        self._build_personality()
        self._build_voice(hear)
        self._build_faces()
        self._build_talking()

    # --- what the owner calls

    def show(self, character: Character, values: Mapping[FieldPath, object]) -> None:
        """Show a character; ``values`` are those that differ from it and are not saved yet."""
        self._character = character

        def value(path: FieldPath) -> object:
            return values.get(path, value_at(character, path))

        if self.name.text != value(("name",)):
            self.name.set(str(value(("name",))))
        fields: tuple[tuple[Field, FieldPath], ...] = (
            (self.mood, ("personality", "mood")),
            (self.language, ("language",)),
        )
        for field, path in fields:
            if field.text != value(path):
                field.set(str(value(path)))
        for path, box in self.texts.items():
            shown = value(path)
            if isinstance(shown, list | tuple):
                if lines_of(box.words) != tuple(shown):
                    box.set("\n".join(str(line) for line in shown))
            else:
                box.set(str(shown))
        for path, slider in self.sliders.items():
            shown = value(path)
            assert isinstance(shown, int | float)
            slider.set(_place_of(path, float(shown)))
            self._show_figure(path, float(shown))
        engine, name = value(("voice", "engine")), value(("voice", "name"))
        self.voice.set(voice_key(str(engine), str(name)))
        traits = value(("personality", "traits"))
        assert isinstance(traits, Mapping)
        self._show_traits({str(name): float(strength) for name, strength in traits.items()})
        self._show_faces()

    def offer_voices(self, voices: Sequence[VoiceInfo]) -> None:
        """The voices to choose from."""
        choices = [Choice("", "The first voice that works", icon="voice")]
        choices += [
            Choice(voice_key(v.engine, v.name), v.title, hint=ENGINES.get(v.engine, v.engine))
            for v in voices
            if not v.problem
        ]
        self.voice.set_choices(choices)

    def report(self) -> None:
        """Report changes that Tk has not told of yet."""
        for box in self.texts.values():
            box.report()

    def focus_name(self) -> None:
        """Put the keyboard into the name, all of it selected."""
        self.name.entry.focus_force()
        self.name.entry.selection_range(0, "end")

    # --- the cards

    def _card(self, title: str, hint: str = "") -> tk.Frame:
        theme, px = self._theme, self._theme.px
        card = tk.Frame(self, highlightthickness=1)
        theme.tint(card, background="surface", highlightbackground="line", highlightcolor="line")
        card.pack(fill="x", pady=(0, px(12)))
        head = self._line(card, px(12), px(6))
        Words(head, theme, title, "bodyb", "text", "surface").pack(side="left")
        if hint:
            Words(head, theme, hint, "cap", "text3", "surface").pack(
                side="left", padx=px(10), fill="x", expand=True
            )
        body = tk.Frame(card)
        theme.tint(body, background="surface")
        body.pack(fill="x", padx=px(14), pady=(0, px(12)))
        return body

    def _line(self, master: tk.Misc, above: int, below: int) -> tk.Frame:
        line = tk.Frame(master)
        self._theme.tint(line, background="surface")
        side = 0 if master.master is not self else self._theme.px(14)
        line.pack(fill="x", padx=side, pady=(above, below))
        return line

    def _label(self, master: tk.Misc, text: str) -> None:
        Words(master, self._theme, text, "cap", "text2", "surface").pack(
            fill="x", pady=(self._theme.px(8), self._theme.px(3))
        )

    def _field(self, master: tk.Misc, path: FieldPath, label: str, ghost: str = "") -> Field:
        self._label(master, label)
        field = Field(
            master,
            self._theme,
            placeholder=ghost,
            on_change=partial(self._changed, path),
            surface="surface",
            label=label,
        )
        field.pack(fill="x")
        return field

    def _text(self, master: tk.Misc, path: FieldPath, label: str, ghost: str, lines: int) -> None:
        self._label(master, label)
        is_list = path in [entry[0] for entry in LISTS]

        def report(text: str) -> None:
            self._changed(path, lines_of(text) if is_list else text)

        box = TextBox(
            master, self._theme, report, label=label, placeholder=ghost, lines=lines, most=14
        )
        box.pack(fill="x")
        self.texts[path] = box

    def _build_who(self) -> None:
        body = self._card("Who")
        self.name = self._field(body, ("name",), "Name", "A name")
        for path, label, ghost, lines in TEXTS["Who"]:
            self._text(body, path, label, ghost, lines)
        self.language = self._field(body, ("language",), "Language", "en, ja, de ...")

    def _build_personality(self) -> None:
        theme, px = self._theme, self._theme.px
        body = self._card("Personality", "the built-in persona plays it, a language model is told")
        self.mood = self._field(body, ("personality", "mood"), "Mood at rest", "cheerful")
        self._slider(body, ("personality", "energy"), "Energy")
        self._trait_rows = tk.Frame(body)
        theme.tint(self._trait_rows, background="surface")
        self._trait_rows.pack(fill="x", pady=(px(4), 0))
        line = self._line(body, px(6), 0)
        self.new_trait = Field(
            line,
            theme,
            placeholder="Another trait: curious",
            on_enter=lambda _: self._add_trait(),
            surface="surface",
            label="Another trait",
            width=220,
            height=30,
        )
        self._adding = Button(
            line, theme, "Add", self._add_trait, icon="plus", surface="surface", height=26
        )
        self._adding.pack(side="right", padx=(px(6), 0))
        self.new_trait.pack(side="left", fill="x", expand=True)
        for path, label, ghost in LISTS:
            self._text(body, path, label, ghost, 2)

    def _build_voice(self, hear: Callable[[], object]) -> None:
        theme, px = self._theme, self._theme.px
        body = self._card("Voice")
        line = self._line(body, 0, px(4))
        self.hear = Button(
            line,
            theme,
            "Hear",
            hear,
            icon="play",
            kind="soft",
            surface="surface",
            height=28,
            tip="Hear the greeting in this voice",
        )
        self.hear.pack(side="right")
        self.voice = _VoiceDropdown(
            line, theme, (), self._voice_chosen, surface="surface", label="Voice", width=200
        )
        self.voice.pack(side="left", fill="x", expand=True, padx=(0, px(6)))
        tk.Misc.lift(self.hear)  # Tab follows the stacking order
        self._slider(body, ("voice", "rate"), "Speed")
        self._slider(body, ("voice", "pitch"), "Pitch")
        self._slider(body, ("voice", "volume"), "Volume")
        self.said = Words(body, theme, "", "cap", "text3", "surface")
        self.said.pack(fill="x", pady=(px(4), 0))

    def _build_faces(self) -> None:
        theme, px = self._theme, self._theme.px
        body = self._card("Pictures", "one per expression; without one it shows the neutral face")
        self._face_grid = tk.Frame(body)
        theme.tint(self._face_grid, background="surface")
        self._face_grid.pack(fill="x")
        self._face_grid.bind("<Configure>", lambda event: self._arrange_faces(event.width))
        line = self._line(body, px(8), 0)
        self.new_face = Field(
            line,
            theme,
            placeholder="Another expression: excited",
            on_enter=lambda _: self._add_face(),
            on_change=lambda _: self.new_face.mark(False),
            surface="surface",
            label="Another expression",
            width=220,
            height=30,
        )
        choosing = Button(
            line,
            theme,
            "Choose a picture",
            self._add_face,
            icon="plus",
            surface="surface",
            height=26,
        )
        choosing.pack(side="right", padx=(px(6), 0))
        self.new_face.pack(side="left", fill="x", expand=True)
        self._face_trouble = Words(body, theme, "", "cap", "error", "surface")
        self._face_trouble.pack(fill="x")

    def _build_talking(self) -> None:
        body = self._card("Talking", "read by language models")
        for path, label, ghost, lines in TEXTS["Talking"]:
            self._text(body, path, label, ghost, lines)

    # --- sliders and traits

    def _slider(self, master: tk.Misc, path: FieldPath, label: str) -> None:
        line, slider, figure = self._slider_line(
            master, label, lambda place: self._slid(path, place)
        )
        line.pack(fill="x", pady=(self._theme.px(4), 0))
        self.sliders[path] = slider
        self._figures[path] = figure

    def _slider_line(
        self, master: tk.Misc, label: str, moved: Callable[[float], object]
    ) -> tuple[tk.Frame, Slider, Words]:
        theme, px = self._theme, self._theme.px
        line = tk.Frame(master)
        theme.tint(line, background="surface")
        # Two columns: words and figures keep their place whatever the slider's width is.
        line.columnconfigure(0, minsize=px(LABEL))
        line.columnconfigure(1, weight=1)
        line.columnconfigure(2, minsize=px(58))
        line.columnconfigure(3, minsize=px(32))
        words = Words(line, theme, label, "small", "text", "surface")
        words.configure(width=1)
        words.grid(row=0, column=0, sticky="ew")
        slider = Slider(line, theme, moved, surface="surface", label=label, width=120)
        for sequence in ("<Button-4>", "<Button-5>", "<MouseWheel>"):
            slider.unbind(sequence)  # the wheel scrolls the form; it must not change what it passes
        slider.grid(row=0, column=1, sticky="ew")
        figure = Words(line, theme, "", "monos", "text2", "surface", "e")
        figure.configure(width=1)
        figure.grid(row=0, column=2, sticky="ew")
        return line, slider, figure

    def _slid(self, path: FieldPath, place: float) -> None:
        value = _value_of(path, place)
        self._show_figure(path, value)
        self._changed(path, value)

    def _show_figure(self, path: FieldPath, value: float) -> None:
        words = {"rate": f"{value:.2f} \u00d7", "pitch": f"{value:.0f}"}.get(
            path[-1], f"{value * 100:.0f} %"
        )
        self._figures[path].show(words)

    def _show_traits(self, traits: dict[str, float]) -> None:
        if list(traits) != list(self.trait_sliders):
            for child in self._trait_rows.winfo_children():
                child.destroy()
            self.trait_sliders = {}
            for name in traits:
                self._add_trait_row(name)
            if not traits:
                self._trait_rows.configure(height=1)  # an emptied frame keeps its last height
        self._traits = dict(traits)
        for name, strength in traits.items():
            self.trait_sliders[name].set(strength)
            self._figures[("trait", name)].show(f"{strength * 100:.0f} %")
        self._adding.enable(len(traits) < MOST_TRAITS)

    def _add_trait_row(self, name: str) -> None:
        theme = self._theme
        line, slider, figure = self._slider_line(
            self._trait_rows, name.capitalize(), lambda place: self._trait_slid(name, place)
        )
        Button(
            line,
            theme,
            icon="x",
            kind="plain",
            surface="surface",
            height=22,
            label=f"Remove {name}",
            command=lambda: self._remove_trait(name),
        ).grid(row=0, column=3, padx=(theme.px(4), 0))
        line.pack(fill="x", pady=(theme.px(2), 0))
        self.trait_sliders[name] = slider
        self._figures[("trait", name)] = figure

    def _trait_slid(self, name: str, strength: float) -> None:
        self._traits[name] = round(strength, 2)
        self._figures[("trait", name)].show(f"{strength * 100:.0f} %")
        self._changed(("personality", "traits"), dict(self._traits))

    def _add_trait(self) -> None:
        name = self.new_trait.text.strip()[:60]
        if not name:
            self.new_trait.entry.focus_set()
            return
        if name.casefold() not in [known.casefold() for known in self._traits]:
            if len(self._traits) >= MOST_TRAITS:
                return
            traits = {**self._traits, name: NEW_TRAIT}
            self._show_traits(traits)
            self._changed(("personality", "traits"), traits)
        self.new_trait.set("")

    def _remove_trait(self, name: str) -> None:
        traits = {known: value for known, value in self._traits.items() if known != name}
        self.new_trait.entry.focus_set()  # the row that had the focus goes
        self._show_traits(traits)
        self._changed(("personality", "traits"), traits)

    def _voice_chosen(self, key: str) -> None:
        engine, _, name = key.partition("/")
        self._changed(("voice", "engine"), engine)
        self._changed(("voice", "name"), name)

    # --- faces

    def _show_faces(self) -> None:
        character = self._character
        assert character is not None
        names = tuple(dict.fromkeys((NEUTRAL, *character.expressions)))
        if (character.id, names) == self._faces_of:
            return
        self._faces_of = (character.id, names)
        for tile in self.faces.values():
            tile.destroy()
        self.faces = {
            name: FaceTile(
                self._face_grid, self._theme, self._avatars, character.id, name, self._picture
            )
            for name in names
        }
        self._face_trouble.show("")
        self._arrange_faces(self._face_grid.winfo_width())

    def _arrange_faces(self, width: int) -> None:
        px = self._theme.px
        step = px(FaceTile.WIDTH + 2 * RING)
        columns = max(1, width // step)
        for number, tile in enumerate(self.faces.values()):
            tile.grid(row=number // columns, column=number % columns, sticky="w")

    def _add_face(self) -> None:
        name = self.new_face.text.strip().lower()
        if not _EXPRESSION.fullmatch(name):
            self.new_face.mark(True)
            self._face_trouble.show("Name it first: small letters, digits, - and _, like excited.")
            self.new_face.entry.focus_set()
            return
        self._face_trouble.show("")
        self.new_face.set("")
        self._picture(name)


def _place_of(path: FieldPath, value: float) -> float:
    """Where on its slider a value lies, 0-1."""
    if path[-1] == "rate":
        return (min(FASTEST, max(SLOWEST, value)) - SLOWEST) / (FASTEST - SLOWEST)
    return value / 100 if path[-1] == "pitch" else value


def _value_of(path: FieldPath, place: float) -> float:
    """The value at a place of its slider."""
    if path[-1] == "rate":
        return round(SLOWEST + place * (FASTEST - SLOWEST), 2)
    return round(place * 100) if path[-1] == "pitch" else round(place, 2)
