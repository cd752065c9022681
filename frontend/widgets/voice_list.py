"""The voices on this machine: found, sorted, played, given to the character, deleted."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from backend.contracts.entities import Character, VoiceInfo
from frontend.theme import Theme
from frontend.widgets.controls import RING, Button
from frontend.widgets.field import Field
from frontend.widgets.panel import Panel
from frontend.widgets.row_list import RowList

HEAD = 50
COLUMNS = 26
FOOT = 30
Order = Literal["title", "language", "engine"]
ENGINES = {
    "piper": "Piper",
    "embedded": "built in",
    "openai_compatible": "speech server",
    "tone": "test tone",
}


def key_of(voice: VoiceInfo) -> tuple[str, str]:
    """What a voice is known by."""
    return voice.engine, voice.name


def speaks_with(character: Character | None, voice: VoiceInfo) -> bool:
    """Whether a character was given this voice."""
    return character is not None and (character.voice.engine, character.voice.name) == key_of(voice)


class VoiceCard(Panel):
    """The card with search, columns and rows.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        choose: Called with the voice that became the current one.
        play: Called with a voice to be heard.
        stop: Stop what is heard.
        give: Called with a voice for the active character.
        delete: Called with a voice to be deleted, after the person said yes.
        bring_in: Import a voice.
        retry: Load again after a failure.
    """

    def __init__(
        self,
        master: tk.Misc,
        theme: Theme,
        *,
        choose: Callable[[VoiceInfo], None],
        play: Callable[[VoiceInfo], None],
        stop: Callable[[], None],
        give: Callable[[VoiceInfo], None],
        delete: Callable[[VoiceInfo], None],
        bring_in: Callable[[], object],
        retry: Callable[[], object],
    ) -> None:
        super().__init__(master, theme)
        self.voices: list[VoiceInfo] = []
        self.shown: list[VoiceInfo] = []
        self.character: Character | None = None
        self.order: Order = "title"
        self.is_reversed = False
        self.playing: tuple[str, str] | None = None
        self.asking: tuple[str, str] | None = None
        """The voice whose deletion is being asked about."""
        self.busy = ""
        self.problem = ""
        self.is_loaded = False
        self.choose_voice, self.play, self.stop, self.give, self.delete_voice = (
            choose,
            play,
            stop,
            give,
            delete,
        )
        self._retry = retry
        self.search = Field(
            self, theme, placeholder="Search", icon="search", height=28, surface="surface",
            on_change=lambda text: self.arrange(), label="Search the voices",
        )  # fmt: skip
        self.importing = Button(
            self, theme, "Import", bring_in, icon="upload", height=28, surface="surface",
            tip="Bring in a Piper voice: its .onnx file, with the .onnx.json beside it",
        )  # fmt: skip
        self.rows = _Rows(self, theme)

    def show(self, voices: Sequence[VoiceInfo], problem: str = "") -> None:
        """Show these voices."""
        self.voices = list(voices)
        self.problem = problem
        self.is_loaded = True
        self.arrange()

    def arrange(self) -> None:
        """Sort and search again; the current voice stays the current one."""
        current = self.current
        words = self.search.text.casefold().split()

        def text(voice: VoiceInfo) -> str:
            engine = ENGINES.get(voice.engine, voice.engine)
            return f"{voice.title} {voice.name} {voice.language} {voice.engine} {engine}".casefold()

        self.shown = sorted(
            (voice for voice in self.voices if all(word in text(voice) for word in words)),
            key=lambda voice: (str(getattr(voice, self.order)).casefold(), voice.title.casefold()),
            reverse=self.is_reversed,
        )
        keys = [key_of(voice) for voice in self.shown]
        if current is not None and key_of(current) in keys:
            self.rows.current = keys.index(key_of(current))
            self.rows.reveal(self.rows.current)
        elif self.shown:
            own = [number for number, v in enumerate(self.shown) if speaks_with(self.character, v)]
            self.rows.current = own[0] if own else 0
            self.choose_voice(self.shown[self.rows.current])
        self.changed()
        self.rows.changed()

    @property
    def current(self) -> VoiceInfo | None:
        """The current voice."""
        return self.shown[self.rows.current] if self.rows.current < len(self.shown) else None

    def sort(self, order: Order) -> None:
        """Sort by a column; again turns the order round."""
        self.is_reversed = not self.is_reversed if order == self.order else False
        self.order = order
        self.arrange()

    def ask_delete(self, voice: VoiceInfo | None) -> None:
        """Ask in the row whether to delete; None takes the question back."""
        self.asking = key_of(voice) if voice is not None else None
        self.rows.changed()

    def columns(self, width: float) -> tuple[float, float | None]:
        """Left edges of language and engine; None = too narrow for it."""
        return width - (250 if width >= 460 else 120), width - 150 if width >= 460 else None

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width, height = p.width, p.height
        count = len(self.voices)
        p.card(0, 0, width, height)
        p.text(16, 25, "Voices", "bodyb")
        start = 26 + p.text_width("Voices", "bodyb")
        wide = self.importing.winfo_reqwidth() / t.scale
        field = max(90.0, min(190.0, width - start - wide - 96))
        self.importing.place(x=t.px(width - 12 - wide + RING), y=t.px(11 - RING))
        x = width - 18 - wide - field + RING
        self.search.place(x=t.px(x), y=t.px(11), width=t.px(field), height=t.px(28))
        if count and x - start > 50:
            found = len(self.shown)
            words = f"{count} here" if found == count else f"{found} of {count}"
            p.text(start, 25.5, words, "small", "text3", clip=x - start - 6)
        if not self.shown:
            self.rows.place_forget()
            self._paint_empty(width, height)
            return
        language, engine = self.columns(width - 16)
        titles: tuple[tuple[str, Order, float | None], ...] = (
            ("Voice", "title", 37), ("Language", "language", language), ("Engine", "engine", engine),
        )  # fmt: skip
        for title, order, left in titles:
            if left is None:
                continue
            mark = ("  \u2191" if self.is_reversed else "  \u2193") if order == self.order else ""
            room = p.text_width(title + mark, "cap") + 12
            press = partial(self.sort, order)
            zone = self.zone(f"sort:{order}", 2 + left, HEAD, room, COLUMNS - 4, press, radius=4)
            self._backing(zone, None, None, 4)
            color = "text2" if mark else "text3"
            p.text(8 + left, HEAD + 11, title + mark, "cap", color)
        p.line(0, HEAD + COLUMNS - 1, width, HEAD + COLUMNS - 1)
        top = HEAD + COLUMNS
        low = FOOT if height > 220 else 8
        self.rows.place(
            x=1,
            y=t.px(top),
            width=max(1, t.px(width) - 2),
            height=max(1, t.px(height - low) - t.px(top)),
        )
        if low == FOOT:
            p.line(0, height - FOOT, width, height - FOOT)
            who = self.character.name if self.character else "the character"
            current = self.current
            delete = "   Del delete" if current is not None and current.engine == "piper" else ""
            words = self.busy or f"Space hear   Enter give to {who}{delete}"
            p.text(
                16,
                height - FOOT / 2,
                words,
                "cap",
                "accent" if self.busy else "text3",
                clip=width - 32,
            )

    def _paint_empty(self, width: float, height: float) -> None:
        p = self.painter
        middle = height / 2
        if not self.is_loaded:
            p.text(width / 2, middle, "Looking for voices.", "small", "text3", "center")
            return
        p.icon(width / 2, middle - 34, "warn" if self.problem else "voice", 24, "text3")
        way_out: tuple[str, Callable[[], object]]
        if self.voices:
            words, way_out = "No voice fits these words.", ("Show all", self._clear_search)
        elif self.problem:
            words, way_out = self.problem, ("Try again", self._retry)
        else:
            words = "No voices yet. Download one beside, or import a Piper voice."
            way_out = ("Look again", self._retry)
        p.text(width / 2, middle - 12, words, "small", "text2", "n", width=width - 48)
        wide = p.text_width(way_out[0], "small") + 24
        self.button("way_out", (width - wide) / 2, middle + 34, *way_out)
        if self.busy:
            p.text(width / 2, middle + 84, self.busy, "cap", "accent", "center")

    def _clear_search(self) -> None:
        self.search.set("")
        self.arrange()


class _Rows(RowList):
    row_height = 46.0

    def __init__(self, card: VoiceCard, theme: Theme) -> None:
        super().__init__(card, theme)
        self.card = card

    def count(self) -> int:
        return len(self.card.shown)

    def chosen(self, number: int) -> None:
        self.card.asking = None
        self.card.choose_voice(self.card.shown[number])
        self.card.changed()  # its foot names the keys that this voice takes

    def tip_of(self, number: int) -> str:
        voice = self.card.shown[number]
        return "\n".join(part for part in (voice.problem or "", voice.path or "") if part)

    def act(self, number: int, key: str) -> None:
        voice = self.card.shown[number]
        if self.card.asking == key_of(voice):
            if key == "<Return>":
                self.card.delete_voice(voice)
            self.card.ask_delete(None)
        elif key == "<space>" and not voice.problem:
            self._play_or_stop(voice)
        elif key == "<Return>" and not voice.problem:
            self.card.give(voice)
        elif key == "<Delete>" and voice.engine == "piper":
            self.card.ask_delete(voice)

    def paint_row(self, number: int, y: float, width: float) -> None:
        p, card = self.painter, self.card
        voice = card.shown[number]
        middle = y + self.row_height / 2
        if card.asking == key_of(voice):
            self._paint_question(voice, y, width)
            return
        is_playing = card.playing == key_of(voice)
        if voice.problem:
            p.icon(23, middle, "warn", 14, "warn", 2)
        else:
            press = partial(self._play_or_stop, voice)
            self.button(
                f"play:{number}", 9, middle - 14, "", press, kind="plain", width=28,
                icon="stop" if is_playing else "play", color="accent" if is_playing else "",
                tip="Stop   Space" if is_playing else "Hear it   Space",
            )  # fmt: skip
        language, engine = card.columns(width)
        is_current = number == self.current
        own = speaks_with(card.character, voice)
        end = language - 8
        if own and card.character is not None:
            wide = p.chip(
                end,
                middle - 9,
                card.character.name[:16],
                "accent",
                "accent_soft",
                anchor="e",
                height=18,
            )
            end -= wide + 8
        dim = "text2" if voice.problem else "text"
        if voice.problem:
            p.text(44, middle - 9, voice.title or voice.engine, "smallb", dim, clip=end - 48)
            p.text(44, middle + 9, voice.problem, "cap", "warn", clip=width - 60)
            end = width
        else:
            p.text(44, middle - 9, voice.title, "smallb", dim, clip=end - 48)
            detail = voice.name if voice.name != voice.title else ""
            extra = [detail, f"{voice.speakers} speakers" if voice.speakers > 1 else "",
                     f"{voice.rate_hz / 1000:g} kHz" if voice.rate_hz else ""]  # fmt: skip
            words = "  \u00b7  ".join(part for part in extra if part)
            p.text(44, middle + 9, words, "cap", "text3", clip=language - 56)
        actions = is_current and (not voice.problem or voice.engine == "piper")
        can_give = actions and not own and not voice.problem and card.character is not None
        if not voice.problem and not (can_give and engine is None):
            p.text(language + 6, middle, voice.language, "small", "text2", clip=90)
        if actions:
            at = width - 10
            if voice.engine == "piper" and voice.name:
                at -= 2 + self.button(
                    f"delete:{number}", at, middle - 13, "", partial(card.ask_delete, voice), icon="trash",
                    kind="plain", width=28, height=26, anchor="e", tip="Delete this voice   Delete",
                )  # fmt: skip
            if can_give and card.character is not None:
                self.button(
                    f"give:{number}", at, middle - 13, "Use", partial(card.give, voice), kind="soft",
                    height=26, anchor="e", tip=f"Give this voice to {card.character.name}   Enter",
                )  # fmt: skip
                return
        if engine is not None and not voice.problem:
            name = ENGINES.get(voice.engine, voice.engine)
            p.text(
                engine + 6,
                middle,
                name,
                "small",
                "text2",
                clip=width - engine - (50 if actions else 16),
            )

    def _paint_question(self, voice: VoiceInfo, y: float, width: float) -> None:
        """Deleting a voice cannot be undone, so the row asks; no window opens over a stream."""
        p, middle = self.painter, y + self.row_height / 2
        at = width - 10
        at -= 6 + self.button(
            "keep", at, middle - 13, "Keep", partial(self.card.ask_delete, None), height=26, anchor="e"
        )  # fmt: skip
        at -= 6 + self.button(
            "sure", at, middle - 13, "Delete", partial(self._delete, voice), icon="trash", color="error",
            height=26, anchor="e",
        )  # fmt: skip
        p.icon(23, middle, "warn", 14, "warn", 2)
        p.text(44, middle, f"Delete {voice.title} from this computer?", "smallb", clip=at - 48)

    def _delete(self, voice: VoiceInfo) -> None:
        self.card.ask_delete(None)
        self.card.delete_voice(voice)

    def _play_or_stop(self, voice: VoiceInfo) -> None:
        if self.card.playing == key_of(voice):
            self.card.stop()
        else:
            self.card.play(voice)
