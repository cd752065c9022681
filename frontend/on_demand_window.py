"""Text on demand: the streamer asks for words, in her manner or plain, and has them said when they are good.

Nothing of it enters the chat, its history or her memory. What she is told to say aloud is heard and remembered as hers.
"""

from __future__ import annotations

import time
import tkinter as tk
from typing import Any, Literal, Protocol

from frontend.client import Failure, Stream
from frontend.owner import WindowOwner
from frontend.stage import Stage
from frontend.widgets.controls import Button, Dropdown, Slider, Switch, Words
from frontend.widgets.field import Field
from frontend.widgets.popup import Choice
from frontend.widgets.text_box import TextBox
from frontend.widgets.toplevel import OneWindow

PATH = "/api/text-generation"
SAY = "/api/say"
SIZE = (720, 620)
SMALLEST = (580, 380)
LABEL = 96
LONGEST_TEMPERATURE = 2.0
USUAL_TEMPERATURE = 0.8
SILENCE_S = 90.0
LENGTHS = (("120", "a sentence"), ("300", "short"), ("700", "a paragraph"), ("2000", "long"))
"""Characters at most, and what that is."""
TURNS = 8
"""Turns of the chat she is shown when she may know what was said."""
STYLES = (
    ("", "as she is"),
    ("casual", "casual"),
    ("formal", "formal"),
    ("excited", "excited"),
    ("calm", "calm"),
)
PROMISE = "Nothing of this enters the chat or her memory, only what you have her say."
Kind = Literal["free", "rewrite", "greet"]


class Owner(WindowOwner, Protocol):
    """What this window needs of the main window."""

    @property
    def stage(self) -> Stage:
        """Who is on."""

    @property
    def state(self) -> dict[str, Any]:
        """What the window remembers."""


class OnDemandWindow(OneWindow):
    """The window; one at a time, `open` raises the one there is."""

    @classmethod
    def open(cls, owner: Owner) -> OnDemandWindow:
        """Show it."""
        window = cls.one(lambda: cls(owner))
        window.prompt.text.focus_force()
        return window

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner.root, owner.theme, "Luma: text on demand")
        self._owner = owner
        self._stream: Stream | None = None
        self._began = 0.0
        self._text = ""
        kept = owner.state.get("text")
        kept = kept if isinstance(kept, dict) else {}
        theme, px = owner.theme, owner.theme.px
        foot = self._foot()
        Button(foot, theme, "Close", self.close, height=30).pack(side="right")
        Words(foot, theme, PROMISE, "small", "text2").pack(
            side="left", fill="x", expand=True, padx=px(3)
        )
        body = self._scrolled().inner
        self._build_prompt(body)
        self._build_options(body, kept)
        self._build_result(body)
        for sequence, run in (
            ("<Control-Return>", self.write),
            ("<Control-KP_Enter>", self.write),
            ("<Control-s>", self.say),
            ("<Control-r>", self.rewrite),
            ("<Control-g>", self.greet),
            ("<Control-Shift-C>", self.copy),
            ("<Control-Shift-c>", self.copy),
        ):
            self.bind(sequence, lambda _, run=run: self._keyed(run))  # type: ignore[misc]  # a lambda that keeps its loop variable
        # Enter with Control is no new line here.
        for sequence in ("<Control-Return>", "<Control-KP_Enter>"):
            self.prompt.text.bind(sequence, lambda _: self._keyed(self.write))
        self._show_state()
        self._appear(SIZE, SMALLEST)

    # --- what others call

    @property
    def is_writing(self) -> bool:
        """Whether words are coming."""
        return self._stream is not None

    @property
    def text(self) -> str:
        """The result, as it stands there now."""
        return self.result.words.strip()

    def body(self, prompt: str, kind: Kind = "free") -> dict[str, Any]:
        """What is asked for."""
        context: dict[str, Any] = {"turns": TURNS if self.history.on else 0}
        if not self.persona.on:
            context["character"] = ""
        facts = {"title": self.about.text.strip(), "game": self.game.text.strip()}
        stream = {name: value for name, value in facts.items() if value}
        if stream:
            context["stream"] = stream
        options: dict[str, Any] = {
            "max_length": int(self.length.value),
            "temperature": round(self.temperature.value * LONGEST_TEMPERATURE, 2),
        }
        if self.style.value:
            options["style"] = self.style.value
        return {
            "prompt": prompt,
            "kind": kind,
            "context": context,
            "options": options,
            "stream": True,
        }

    def write(self) -> None:
        """Ask for what stands in the prompt."""
        prompt = self.prompt.words.strip()
        if not prompt:
            self._note("Write what you want first.", "warn")
            self.prompt.text.focus_set()
            return
        self._ask(prompt, "free")

    def rewrite(self) -> None:
        """Ask for the result in other words, or for the prompt where there is no result."""
        text = self.text or self.prompt.words.strip()
        if not text:
            self._note("There is nothing to rewrite yet.", "warn")
            return
        self._ask(text, "rewrite")

    def greet(self) -> None:
        """Ask for a greeting: for who is named in the prompt, else for everybody."""
        self._ask(" ".join(self.prompt.words.split()), "greet")

    def say(self) -> None:
        """Have the result said on the stage, or the prompt where there is no result."""
        text = self.text or self.prompt.words.strip()
        if not text:
            self._note("There is nothing to say yet.", "warn")
            return
        if self.is_writing:
            self._note("She is still writing; wait, or cancel first.", "warn")
            return
        self.say_button.enable(False)
        self._owner.backend.post(SAY, {"text": text}, self._said, self._not_said)

    def copy(self) -> None:
        """Put the result on the clipboard."""
        if self.text:
            self.clipboard_clear()
            self.clipboard_append(self.text)
            self._note("Copied.", "ok")

    def cancel(self) -> None:
        """Stop writing; what is there stays."""
        if self._stream is not None:
            self._stream.cancel()
            self._end()
            self._note("Cancelled. What was written stays.", "text2")

    def close(self) -> None:
        """Close the window."""
        self.destroy()

    # --- building

    def _row(self, master: tk.Misc, title: str) -> tk.Frame:
        return self._named_row(master, title, (LABEL, 32), (4, 4))

    def _card(self, body: tk.Misc) -> tk.Frame:
        return self._outlined(body, 10)

    def _build_prompt(self, body: tk.Misc) -> None:
        theme, px = self._theme, self._theme.px
        card = self._card(body)
        self.prompt = TextBox(
            card,
            theme,
            lambda _: self._show_state(),
            label="What you want",
            placeholder="What do you want? Or words to say, to rewrite; or a name to greet.",
            lines=3,
            most=8,
            font="body",
        )
        self.prompt.pack(fill="x", padx=px(14), pady=(px(12), px(6)))
        line = tk.Frame(card)
        theme.tint(line, background="surface")
        line.pack(fill="x", padx=px(11), pady=(0, px(10)))
        self.write_button = Button(
            line,
            theme,
            "Write",
            self.write,
            icon="edit",
            kind="accent",
            key="Ctrl Enter",
            surface="surface",
            height=30,
        )
        self.write_button.pack(side="left")
        self.cancel_button = Button(
            line, theme, "Cancel", self.cancel, icon="stop", key="Esc", surface="surface", height=30
        )
        self.rewrite_button = Button(
            line,
            theme,
            "Rewrite",
            self.rewrite,
            icon="refresh",
            key="Ctrl R",
            surface="surface",
            height=30,
            tip="The result, or the words above, said in another way",
        )
        self.rewrite_button.pack(side="left")
        self.greet_button = Button(
            line,
            theme,
            "Greet",
            self.greet,
            icon="heart",
            key="Ctrl G",
            surface="surface",
            height=30,
            tip="A greeting for the name above, or for everybody",
        )
        self.greet_button.pack(side="left")
        self.progress = Words(line, theme, "", "small", "text2", "surface")
        self.progress.pack(side="left", fill="x", expand=True, padx=px(8))

    def _build_options(self, body: tk.Misc, kept: dict[str, Any]) -> None:
        theme, px = self._theme, self._theme.px
        card = self._card(body)
        spacer = tk.Frame(card, height=px(6))
        theme.tint(spacer, background="surface")
        spacer.pack()
        line = self._row(card, "She knows")
        self.persona = Switch(
            line, theme, "who she is", on=bool(kept.get("persona", True)), tip="Her character card"
        )
        self.persona.pack(side="left", padx=(0, px(14)))
        self.history = Switch(
            line,
            theme,
            "what was said",
            on=bool(kept.get("history", True)),
            tip="The newest of the chat; read only",
        )
        self.history.pack(side="left")
        line = self._row(card, "The stream")
        self.about = self._fact(line, kept.get("about"), "Title of the stream")
        self.game = self._fact(line, kept.get("game"), "Game or topic")
        line = self._row(card, "Manner")
        self.style = self._choice(line, STYLES, kept.get("style"), "", 120, "Style")
        Words(line, theme, "Length", "small", "text2", "surface").pack(
            side="left", padx=(px(10), px(4))
        )
        self.length = self._choice(line, LENGTHS, kept.get("length"), "300", 130, "Length")
        line = self._row(card, "Freedom")
        value = kept.get("temperature")
        usual = USUAL_TEMPERATURE / LONGEST_TEMPERATURE
        share = float(value) if isinstance(value, int | float) and 0 <= value <= 1 else usual
        self._figure = Words(line, theme, "", "mono", "text2", "surface", "e")
        self._figure.configure(width=5)
        self._figure.pack(side="right")
        self.temperature = Slider(
            line,
            theme,
            lambda _: self._show_temperature(),
            value=share,
            width=200,
            surface="surface",
            label="Temperature",
            tip="Low: the likeliest words. High: surprising ones, and nonsense above 1.5.",
        )
        self.temperature.pack(side="left", fill="x", expand=True)
        self._show_temperature()
        spacer = tk.Frame(card, height=px(6))
        theme.tint(spacer, background="surface")
        spacer.pack()

    def _fact(self, line: tk.Frame, kept: object, label: str) -> Field:
        field = Field(
            line,
            self._theme,
            placeholder=f"{label}, if she may know",
            surface="surface",
            label=label,
            width=160,
        )
        field.set(kept if isinstance(kept, str) else "")
        field.pack(side="left", fill="x", expand=True, padx=self._theme.px(3))
        return field

    def _choice(
        self,
        line: tk.Frame,
        choices: tuple[tuple[str, str], ...],
        kept: object,
        usual: str,
        width: float,
        label: str,
    ) -> Dropdown:
        known = [value for value, _ in choices]
        made = Dropdown(
            line,
            self._theme,
            [Choice(value, words) for value, words in choices],
            value=kept if isinstance(kept, str) and kept in known else usual,
            width=width,
            height=28,
            surface="surface",
            label=label,
        )
        made.pack(side="left")
        return made

    def _build_result(self, body: tk.Misc) -> None:
        theme, px = self._theme, self._theme.px
        card = self._card(body)
        self.result = TextBox(
            card,
            theme,
            lambda _: self._show_state(),
            label="What she wrote; can be changed before it is said",
            placeholder="What she writes appears here. You can change it before it is said.",
            lines=5,
            most=14,
            font="body",
        )
        self.result.pack(fill="x", padx=px(14), pady=(px(12), px(6)))
        line = tk.Frame(card)
        theme.tint(line, background="surface")
        line.pack(fill="x", padx=px(11), pady=(0, px(10)))
        self.say_button = Button(
            line,
            theme,
            "Say this",
            self.say,
            icon="volume",
            kind="soft",
            key="Ctrl S",
            surface="surface",
            height=30,
            tip="She says it on the stage, word for word, as if it were hers",
        )
        self.say_button.pack(side="left")
        self.copy_button = Button(
            line,
            theme,
            "Copy",
            self.copy,
            icon="copy",
            key="Ctrl Shift C",
            surface="surface",
            height=30,
        )
        self.copy_button.pack(side="left")
        self.facts = Words(line, theme, "", "small", "text3", "surface")
        self.facts.pack(side="left", fill="x", expand=True, padx=px(8))

    # --- asking

    def _ask(self, prompt: str, kind: Kind) -> None:
        if self.is_writing:
            return
        self._keep()
        self._text = ""
        self.result.set("")
        self.facts.show("")
        self._began = time.monotonic()
        self._stream = self._owner.backend.stream(
            PATH, self.body(prompt, kind), self._piece, self._failed, timeout_s=SILENCE_S
        )
        self._show_state()
        self._tick()

    def _piece(self, name: str, data: Any) -> None:
        """A piece of the stream: words, the end with its figures, or a failure."""
        if not self._is_open or self._stream is None or not isinstance(data, dict):
            return
        match name:
            case "error":
                self._failed(
                    Failure(str(data.get("code", "failed")), str(data.get("message", "It failed.")))
                )
            case "final" | "done":
                text = data.get("text")
                if isinstance(text, str) and text:
                    self._text = text
                self.result.set(self._text)
                self._end()
                self._note("")
                self.facts.show(facts_words(data, time.monotonic() - self._began), "text3")
            case _:
                text = data.get("text", data.get("delta"))
                if isinstance(text, str):
                    self._text += text
                    self.result.set(self._text)
                    self.result.text.see("end")

    def _failed(self, failure: Failure) -> None:
        if self._is_open and self._stream is not None:
            self._end()
            words = failure.message
            if failure.status == 404:
                words = "This backend cannot write on demand yet. Update it, and start it again."
            self._note(words, "error")

    def _said(self, _value: Any) -> None:
        if self._is_open:
            self._show_state()
            self._note("She says it now.", "ok")

    def _not_said(self, failure: Failure) -> None:
        if self._is_open:
            self._show_state()
            words = failure.message
            if failure.status == 404:
                words = "This backend cannot say single words yet. Update it, and start it again."
            self._note(words, "error")

    def _end(self) -> None:
        self._stream = None
        if self._job is not None:
            self.after_cancel(self._job)
            self._job = None
        self._show_state()

    # --- showing

    def _tick(self) -> None:
        """How long it has been writing, four times a second at most."""
        if self._stream is not None:
            elapsed = time.monotonic() - self._began
            what = "Writing" if self._text else "Thinking"
            self.progress.show(f"{what}, {elapsed:.1f} s", "accent")
            self._job = self.after(250, self._tick)

    def _note(self, words: str, color: str = "text2") -> None:
        self.progress.show(words, color)

    def _show_state(self) -> None:
        if not hasattr(self, "say_button"):
            return
        writing, has_words = self.is_writing, bool(self.text or self.prompt.words.strip())
        for button in (self.write_button, self.rewrite_button, self.greet_button):
            button.enable(not writing)
        self.say_button.enable(has_words and not writing)
        self.copy_button.enable(bool(self.text))
        if writing:
            self.cancel_button.pack(side="left", after=self.write_button)
        else:
            self.cancel_button.pack_forget()

    def _show_temperature(self) -> None:
        self._figure.show(f"{self.temperature.value * LONGEST_TEMPERATURE:.2f}")

    def _keep(self) -> None:
        """What was chosen is there again the next time; what was asked is not kept."""
        self._owner.state["text"] = {
            "persona": self.persona.on,
            "history": self.history.on,
            "about": self.about.text[:300],
            "game": self.game.text[:300],
            "style": self.style.value,
            "length": self.length.value,
            "temperature": self.temperature.value,
        }

    def _keyed(self, run: Any) -> str:
        run()
        return "break"

    def _escape(self) -> None:
        if self.is_writing:
            self.cancel()
        else:
            self.close()

    def _gone(self) -> None:
        if self._stream is not None:
            self._stream.cancel()


def facts_words(data: dict[str, Any], elapsed_s: float) -> str:
    """Tokens, time and model of a result in words."""
    parts = []
    tokens = data.get("tokens_used", data.get("tokens"))
    if isinstance(tokens, int) and not isinstance(tokens, bool):
        parts.append(f"{tokens:,} token{'s' if tokens != 1 else ''}")
    given = data.get("elapsed_ms", data.get("time_ms"))
    spent = given / 1000 if isinstance(given, int | float) else elapsed_s
    parts.append(f"{spent:.1f} s")
    model = data.get("model")
    if isinstance(model, str) and model:
        parts.append(model[:80])
    return "  \u00b7  ".join(parts)
