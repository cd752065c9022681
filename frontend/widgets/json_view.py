"""JSON for reading: indented, in four colours, selectable, bounded."""

from __future__ import annotations

import json
import tkinter as tk
from collections.abc import Iterator
from typing import Any, Literal

from frontend.theme import Theme

Kind = Literal["key", "text", "number", "word", "mark"]

LINES = 2_000
LINE_LETTERS = 1_500  # Tk lays out a logical line at once: a long one freezes the window
_CONTROL = {code: f"\\u{code:04x}" for code in (*range(0x80, 0xA0), 0x200E, 0x200F, 0xFEFF)} | {
    code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def tokens(value: Any, depth: int = 0) -> Iterator[tuple[str, Kind]]:
    """The pieces of indented JSON with what each is; long texts are cut."""
    pad = "  " * (depth + 1)
    if isinstance(value, dict) and value:
        yield "{\n", "mark"
        for number, (name, inner) in enumerate(value.items()):
            yield pad, "mark"
            yield _quoted(str(name)), "key"
            yield ": ", "mark"
            yield from tokens(inner, depth + 1)
            yield (",\n" if number < len(value) - 1 else "\n"), "mark"
        yield "  " * depth + "}", "mark"
    elif isinstance(value, list) and value:
        yield "[\n", "mark"
        for number, inner in enumerate(value):
            yield pad, "mark"
            yield from tokens(inner, depth + 1)
            yield (",\n" if number < len(value) - 1 else "\n"), "mark"
        yield "  " * depth + "]", "mark"
    elif isinstance(value, str):
        yield _quoted(value), "text"
    elif value is None or isinstance(value, bool):
        yield json.dumps(value), "word"
    elif isinstance(value, int | float):
        yield json.dumps(value), "number"
    else:
        yield json.dumps(value, default=str), "mark"


def _quoted(text: str) -> str:
    cut = text if len(text) <= LINE_LETTERS else text[:LINE_LETTERS] + "..."
    return json.dumps(cut, ensure_ascii=False).translate(_CONTROL)


class JsonView(tk.Text):
    """Shows one value, with an optional plain text (a traceback) before it; read-only, can be selected and copied."""

    def __init__(self, master: tk.Misc, theme: Theme) -> None:
        super().__init__(
            master,
            borderwidth=0,
            highlightthickness=0,
            wrap="char",
            padx=theme.px(12),
            pady=theme.px(10),
            font=theme.font("mono"),
            cursor="arrow",
            spacing3=theme.px(2),
            undo=False,
        )
        self.theme = theme
        self.bind("<Key>", self._typed)
        theme.on_change(self, self.recolour)
        self.recolour()

    def recolour(self) -> None:
        """Colours changed."""
        color = self.theme.color
        self.configure(
            background=color("bg"),
            foreground=color("text2"),
            insertbackground=color("bg"),
            selectbackground=color("sel"),
            selectforeground=color("text"),
            inactiveselectbackground=color("sel"),
        )
        for kind, token in (
            ("key", "json_key"),
            ("text", "json_text"),
            ("number", "json_number"),
            ("word", "json_word"),
            ("mark", "text2"),
            ("plain", "text"),
        ):
            self.tag_configure(kind, foreground=color(token))

    def show(self, value: Any, plain: str = "") -> None:
        """Show a value."""
        pieces: list[str] = []
        if plain:
            for line in plain.splitlines()[:300]:
                pieces += [line[:LINE_LETTERS] + "\n", "plain"]
            pieces += ["\n", "plain"]
        lines = 0
        for text, kind in tokens(value):
            lines += text.count("\n")
            if lines > LINES:
                pieces += [f"\n... {LINES:,} lines are shown", "mark"]
                break
            pieces += [text, kind]
        self.delete("1.0", "end")
        if pieces:
            self.insert("1.0", *pieces)
        self.yview_moveto(0)

    def _typed(self, event: Any) -> str | None:
        """Keys that move, copy or leave work; those that would change the text do not."""
        moves = (
            "Up",
            "Down",
            "Left",
            "Right",
            "Prior",
            "Next",
            "Home",
            "End",
            "Tab",
            "ISO_Left_Tab",
        )
        is_command = event.state & 0x4 and event.keysym.lower() in ("c", "a", "f")
        if event.state & 0x4 and event.keysym.lower() == "a":
            self.tag_add("sel", "1.0", "end")
            return "break"
        if event.keysym == "Tab":
            following = self.tk_focusNext()
            if following is not None:
                following.focus_set()
            return "break"
        is_function = event.keysym.startswith("F") and event.keysym[1:].isdigit()
        return None if is_command or is_function or event.keysym in (*moves, "Escape") else "break"
