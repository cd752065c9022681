"""Checkpoints: hear each say the same sentence, see its scores, compare two blind, keep one as the voice.

In a blind comparison the two are played as "First" and "Second" in an order nobody sees; what was preferred is said only
after the choice.
"""

from __future__ import annotations

import random
import tkinter as tk
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from backend.contracts.training import Checkpoint
from frontend.widgets.controls import RING, Button
from frontend.widgets.field import Field
from frontend.widgets.panel import Panel
from frontend.widgets.popup import Choice, Picker
from frontend.widgets.row_list import RowList
from frontend.widgets.training.state import Cockpit, is_running

HEAD = 42
COLUMNS = 24
FOOT = 46
SAY = 40
LONGEST_TEXT = 300
Side = Literal["first", "second"]

HINTS = {
    "words": "Share of the words of the test sentence that the recogniser understands; higher is better",
    "mcd": "Mel-cepstral distance to recordings kept back, in dB; lower is better",
    "speaker": "Likeness to the speaker, 0 to 1; higher is better",
}


@dataclass(slots=True)
class Blind:
    """A comparison under way.

    Attributes:
        pair: The two checkpoints in the hidden order.
        heard: Which of the two were played.
        choice: What was preferred; empty = not chosen yet, "same" = no difference.
    """

    pair: tuple[Checkpoint, Checkpoint]
    heard: set[Side] = field(default_factory=set)
    choice: Literal["", "first", "second", "same"] = ""

    def one(self, side: Side) -> Checkpoint:
        """Who hides behind a side."""
        return self.pair[0] if side == "first" else self.pair[1]

    @property
    def may_choose(self) -> bool:
        """Whether both were heard."""
        return len(self.heard) == 2

    def verdict(self) -> str:
        """What came out, in words."""
        if self.choice == "same":
            first, second = sorted(one.step for one in self.pair)
            return (
                f"No difference between step {first:,} and {second:,}: the earlier one is as good."
            )
        if not self.choice:
            return ""
        liked = self.one(self.choice)
        other = self.pair[0] if liked is self.pair[1] else self.pair[1]
        return f"You preferred {title_of(liked)} to {title_of(other)}."


def title_of(one: Checkpoint) -> str:
    """A checkpoint in words."""
    return f"step {one.step:,}" if one.step else "before training"


def shuffled(
    pair: tuple[Checkpoint, Checkpoint], throw: Callable[[], float] = random.random
) -> Blind:
    """A comparison in an order by chance."""
    return Blind(pair if throw() < 0.5 else (pair[1], pair[0]))


def scores_of(one: Checkpoint) -> tuple[str, str, str]:
    """Clear words, distance and likeness as they are shown; "-" where not measured."""
    scores = one.scores
    return (
        "\u2013" if scores.clear_words is None else f"{scores.clear_words * 100:.0f} %",
        "\u2013" if scores.mcd_db is None else f"{scores.mcd_db:.2f}",
        "\u2013" if scores.similarity is None else f"{scores.similarity:.3f}",
    )


class CheckpointCard(Panel):
    """The card.

    Args:
        master: The widget it lies in.
        cockpit: What is known.
        use: Give the finished voice to the character and talk.
    """

    def __init__(self, master: tk.Misc, cockpit: Cockpit, *, use: Callable[[], object]) -> None:
        super().__init__(master, cockpit.app.theme)
        self.cockpit = cockpit
        self._use = use
        self.compared: dict[str, str] = {}
        """ "A" and "B" to the id of a checkpoint."""
        self.blind: Blind | None = None
        self.busy = ""
        self._said_for = ""
        self.rows = CheckpointRows(self)
        self.text = Field(
            self, self.theme, placeholder="Have it say something else...", on_enter=lambda _: self.say(), height=30,
            surface="surface", label="What the checkpoint says",
        )  # fmt: skip
        self.saying = Button(self, self.theme, "Say it", self.say, icon="voice", height=28, surface="surface",
                             tip="Spoken by the marked checkpoint   Enter")  # fmt: skip
        self.giving = Button(
            self, self.theme, "Use", use, icon="heart", kind="soft", height=30, surface="surface"
        )
        cockpit.watch(("checkpoints", "jobs", "playing", "character", "progress"), self._told)
        self._told("checkpoints")

    # --- doing

    @property
    def current(self) -> Checkpoint | None:
        """The marked checkpoint."""
        shown = self.cockpit.checkpoints
        return shown[self.rows.current] if 0 <= self.rows.current < len(shown) else None

    def play(self, one: Checkpoint) -> None:
        """Hear its test sentence, or stop it."""
        cockpit, key = self.cockpit, f"checkpoint:{one.id}"
        if cockpit.playing == key:
            cockpit.stop()
        elif one.sample_url:
            cockpit.play(key, f"{one.sample_url}/play")
            cockpit.heard_sample()
        else:
            self._say(one, self._test_sentence(), key)

    def say(self) -> None:
        """Have the marked checkpoint say the text of the field."""
        one, text = self.current, self.text.text.strip()[:LONGEST_TEXT]
        if one is None or self.busy:
            return
        if one.step == 0:
            one = next((other for other in self.cockpit.checkpoints if other.step), one)
        self._say(one, text or self._test_sentence(), f"checkpoint:{one.id}")

    def _say(self, one: Checkpoint, text: str, key: str) -> None:
        self.busy = (
            f"{title_of(one).capitalize()} is made ready to speak: some seconds the first time."
        )
        self.changed()
        self.cockpit.play(
            key, f"/api/voice/checkpoints/{quote(one.id, safe='')}/sample", {"text": text, "play": True}
        )  # fmt: skip
        self.cockpit.heard_sample()

    def _test_sentence(self) -> str:
        known = (one.sample_text for one in self.cockpit.checkpoints if one.sample_text)
        return next(known, "Good evening, everyone! Shall we begin?")

    def mark(self, side: str, one: Checkpoint) -> None:
        """Choose a checkpoint as A or B of the comparison."""
        if self.compared.get(side) == one.id:
            del self.compared[side]
        else:
            self.compared = {key: value for key, value in self.compared.items() if value != one.id}
            self.compared[side] = one.id
        self.blind = None
        self.rows.changed()
        self.changed()

    def compare(self) -> None:
        """Begin a blind comparison of A and B; without marks of the best and the newest other one."""
        if self.blind is not None:
            self.blind = None
            self.cockpit.stop()
            self.changed()
            return
        pair = self.pair()
        if pair is not None:
            self.compared = {"A": pair[0].id, "B": pair[1].id}
            self.blind = shuffled(pair)
            self.rows.changed()
            self.changed()

    def pair(self) -> tuple[Checkpoint, Checkpoint] | None:
        """Which two are compared; None while there are no two that can be heard."""
        heard = [one for one in self.cockpit.checkpoints if one.sample_url]
        marked = [one for side in "AB" for one in heard if one.id == self.compared.get(side)]
        best = self.cockpit.best
        others = [one for one in ([best] if best else []) + heard if one not in marked]
        chosen: list[Checkpoint] = []
        for one in [*marked, *others]:
            if one not in chosen:
                chosen.append(one)
        return (chosen[0], chosen[1]) if len(chosen) > 1 else None

    def hear(self, side: Side) -> None:
        """Play one side of the comparison."""
        if self.blind is None:
            return
        self.blind.heard.add(side)
        self.cockpit.play(f"blind:{side}", f"{self.blind.one(side).sample_url}/play")
        self.cockpit.heard_sample()
        self.changed()

    def prefer(self, choice: Literal["first", "second", "same"]) -> None:
        """Say which one is better; now the names are told."""
        if self.blind is not None and self.blind.may_choose:
            self.blind.choice = choice
            self.cockpit.stop()
            self.rows.changed()
            self.changed()

    def menu(self, one: Checkpoint) -> None:
        """What else can be done with a checkpoint."""
        choices = [
            Choice("play", "Hear it", icon="play"),
            Choice(
                "export", "Save it as a voice", "Exported, verified, listed under Voices", "voice"
            ),
            Choice("restore", "Train on from here", "As a new job", "refresh"),
            Choice("delete", "Delete", icon="trash"),
        ]
        place = self.rows.place_of(f"more:{one.id}")
        Picker(self.rows, self.theme, choices, partial(self.act, one), width=280, place=place)

    def act(self, one: Checkpoint, what: str) -> None:
        """Do what was chosen in the menu."""
        cockpit = self.cockpit
        path = f"/api/voice/checkpoints/{quote(one.id, safe='')}"
        if what == "play":
            self.play(one)
        elif what == "delete":
            cockpit.ask("DELETE", path, None, lambda _: cockpit.load_checkpoints())
        elif what in ("export", "restore"):

            def done(answer: Any) -> None:
                words = "is being made into a voice" if what == "export" else "is trained on"
                cockpit.app.notify(f"{title_of(one).capitalize()} {words}.", "ok")
                cockpit.load_jobs()
                job_id = str(answer.get("job_id") or "") if isinstance(answer, dict) else ""
                if what == "restore" and job_id:
                    cockpit.show_job(job_id)  # else the training it comes from stays in sight

            cockpit.ask("POST", f"{path}/{what}", {}, done)

    # --- drawing

    def _told(self, topic: str) -> None:
        if (
            topic == "playing"
            and self.busy
            and (self.cockpit.duration_s or not self.cockpit.playing)
        ):
            self.busy = ""
        if topic == "checkpoints":
            known = {one.id for one in self.cockpit.checkpoints}
            self.compared = {side: name for side, name in self.compared.items() if name in known}
            if self.blind is not None and not {one.id for one in self.blind.pair} <= known:
                self.blind = None
            job = self.cockpit.training
            if (job.id if job else "") != self._said_for:
                self._said_for, self.rows.current = job.id if job else "", 0
        character = self.cockpit.character
        self.giving.set(
            f"Give to {character.name[:16]} and talk" if character else "Use this voice"
        )
        self.giving.enable(bool(self.cockpit.voice) and character is not None)
        self.rows.changed()
        self.changed()

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width, height = p.width, p.height
        p.card(0, 0, width, height)
        p.text(16, 21, "Checkpoints", "bodyb")
        start = 26 + p.text_width("Checkpoints", "bodyb")
        shown = self.cockpit.checkpoints
        right = width - 14
        if self.pair() is not None:
            right -= self.button(
                "blind", right, 8, "End" if self.blind else "Blind A/B", self.compare, icon="shield", height=26,
                anchor="e", on=self.blind is not None, tip="Hear two of them without knowing which is which",
            ) + 8  # fmt: skip
        p.text(
            start, 21.5, "same sentence each time", "small", "text3", clip=max(10.0, right - start)
        )
        if not shown:
            self._paint_empty(width, height)
            for widget in (self.rows, self.text, self.saying, self.giving):
                widget.place_forget()
            return
        top = float(HEAD)
        if self.blind is not None:
            top = self._paint_blind(self.blind, top, width)
        self._paint_columns(top, width)
        low = height - FOOT - (SAY if height > 230 else 0)
        self.rows.place(
            x=t.px(1), y=t.px(top + COLUMNS), width=max(1, t.px(width - 2)),
            height=max(1, t.px(low - top - COLUMNS)),
        )  # fmt: skip
        if height > 230:
            wide = self.saying.winfo_reqwidth() / t.scale
            self.text.place(x=t.px(14), y=t.px(low + 5), width=t.px(width - 28 - wide))
            self.saying.place(x=t.px(width - 12 - wide), y=t.px(low + 6 - RING))
        else:
            self.text.place_forget()
            self.saying.place_forget()
        p.line(0, height - FOOT, width, height - FOOT)
        wide = self.giving.winfo_reqwidth() / t.scale
        self.giving.place(x=t.px(width - 12 - wide), y=t.px(height - FOOT / 2 - 15 - RING))
        words = self.busy or "MCD in dB: lower is better"
        p.text(16, height - FOOT / 2, words, "cap", "text3", clip=max(20.0, width - wide - 36))

    def _paint_columns(self, top: float, width: float) -> None:
        p = self.painter
        p.text(44, top + 11, "Step", "cap", "text3")
        for title, key, right in self.columns(width):
            p.text(right, top + 11, title, "cap", "text3", "e")
            wide = p.text_width(title, "cap")
            self.zone(f"column:{key}", right - wide, top, wide, 20, None, tip=HINTS[key])
        p.line(0, top + COLUMNS - 1, width, top + COLUMNS - 1)

    def columns(self, width: float) -> Sequence[tuple[str, str, float]]:
        """Title, key and right edge of the columns of figures."""
        right = width - 118
        found = [("Speaker", "speaker", right), ("MCD", "mcd", right - 62)]
        if width > 380:
            found.append(("Clear words", "words", right - 110))
        return found

    def _paint_blind(self, blind: Blind, top: float, width: float) -> float:
        p, cockpit = self.painter, self.cockpit
        high = 70.0
        p.box(12, top, width - 24, high, "bg", "line", 6)
        sides: tuple[tuple[Side, str], ...] = (("first", "First"), ("second", "Second"))
        if blind.choice:
            p.icon(28, top + 22, "check", 14, "ok")
            p.text(44, top + 22, blind.verdict(), "smallb", "text", clip=width - 70)
            self.button(
                "again", 20, top + 38, "Compare again", self._again, height=24, kind="plain"
            )
            return top + high + 6
        x = 20.0
        for side, title in sides:
            is_heard = cockpit.playing == f"blind:{side}"
            x += self.button(
                f"hear:{side}", x, top + 8, title, partial(self.hear, side), icon="stop" if is_heard else "play",
                height=26, on=is_heard,
            ) + 6  # fmt: skip
        words = "Which one sounds better?" if blind.may_choose else "Hear both, then choose."
        p.text(x + 6, top + 21, words, "small", "text2", clip=max(10.0, width - x - 30))
        x = 20.0
        may = blind.may_choose
        for choice, title in (
            ("first", "First is better"),
            ("second", "Second is better"),
            ("same", "No difference"),
        ):
            x += self.button(
                f"prefer:{choice}", x, top + 40, title, partial(self.prefer, choice) if may else None, height=24  # type: ignore[arg-type]  # the three literals above
            ) + 6  # fmt: skip
        return top + high + 6

    def _again(self) -> None:
        self.blind = None
        self.compare()

    def _paint_empty(self, width: float, height: float) -> None:
        p, cockpit = self.painter, self.cockpit
        job = cockpit.training
        middle = height / 2
        p.icon(width / 2, middle - 40, "clock" if job else "spark", 24, "text3")
        if problem := cockpit.problems.get("checkpoints", ""):
            words = problem
        elif job is None:
            words = "While a voice is trained, it says the same sentence again and again here: hear it getting better."
        elif is_running(job):
            words = "The first checkpoint is on its way."
        else:
            words = "This training has left no checkpoint."
        p.text(width / 2, middle - 18, words, "small", "text2", "n", width=min(360.0, width - 40))


class CheckpointRows(RowList):
    """One row per checkpoint, newest first."""

    row_height = 30.0

    def __init__(self, card: CheckpointCard) -> None:
        super().__init__(card, card.theme)
        self.card = card
        for key in ("a", "b"):
            self.bind(f"<{key}>", partial(self._marked, key.upper()))
        self.bind("<m>", lambda _: self._menu())

    def count(self) -> int:
        return len(self.card.cockpit.checkpoints)

    def fill_of(self, number: int) -> str | None:
        if self.card.cockpit.checkpoints[number].is_best:
            return "ok_soft"
        return super().fill_of(number)

    def tip_of(self, number: int) -> str:
        return self.card.cockpit.checkpoints[number].sample_text

    def paint_row(self, number: int, y: float, width: float) -> None:
        p, card = self.painter, self.card
        one = card.cockpit.checkpoints[number]
        middle = y + 15
        is_heard = card.cockpit.playing == f"checkpoint:{one.id}"
        self.button(
            f"play:{one.id}", 12, y + 4, "", partial(card.play, one), icon="stop" if is_heard else "play",
            width=22, height=22, kind="soft" if is_heard else "plain", tip="Hear it   Space",
        )  # fmt: skip
        hidden = card.blind is not None and not card.blind.choice
        step = f"{one.step:,}" if one.step else "Before training"
        p.text(44, middle, step, "smallb" if one.is_best else "small")
        x = 44 + p.text_width(step, "smallb" if one.is_best else "small") + 8
        if one.is_best:
            p.chip(x, middle, "best", "ok", "surface", height=18)
        for (_, key, right), value in zip(
            card.columns(card.painter.width), reversed(scores_of(one)), strict=False
        ):
            if not (key == "words" and one.is_best and right - 40 < x + 40):
                p.text(right, middle, value, "monos", "text2", "e")
        edge = width - 10
        for side in ("B", "A"):
            on = card.compared.get(side) == one.id and not hidden
            edge -= self.button(
                f"{side}:{one.id}", edge, y + 4, side, partial(card.mark, side, one) if one.sample_url else None,
                width=22, height=22, anchor="e", on=on, tip=f"Compare as {side}   {side}",
            ) + 4  # fmt: skip
        if one.step == 0:  # what the base said: there are no weights to do anything with
            return
        self.button(f"more:{one.id}", edge, y + 4, "", partial(card.menu, one), icon="more", width=24, height=22,
                    kind="plain", anchor="e", tip="More   M")  # fmt: skip

    def act(self, number: int, key: str) -> None:
        one = self.card.cockpit.checkpoints[number]
        if key == "<space>" or one.step == 0:
            self.card.play(one)
        elif key == "<Return>":
            self.card.menu(one)
        else:
            self.card.act(one, "delete")

    def _marked(self, side: str, _event: object) -> str:
        shown = self.card.cockpit.checkpoints
        if 0 <= self.current < len(shown) and shown[self.current].sample_url:
            self.card.mark(side, shown[self.current])
        return "break"

    def _menu(self) -> str:
        shown = self.card.cockpit.checkpoints
        if 0 <= self.current < len(shown) and shown[self.current].step:
            self.card.menu(shown[self.current])
        return "break"
