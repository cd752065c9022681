"""What is asked before a training: the voice's name, how, how long, and who gets it."""

from __future__ import annotations

import re
import tkinter as tk
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from backend.contracts.training import BaseFile, Job, Speaker, TrainerName
from frontend.client import Failure
from frontend.stage import read_models
from frontend.widgets.controls import RING, Button, Dropdown, Switch
from frontend.widgets.field import Field
from frontend.widgets.panel import Panel
from frontend.widgets.popup import Choice
from frontend.widgets.training.state import Cockpit

LONGEST_NAME = 60
NAME_WIDTH = 220.0
TRAINERS: tuple[Choice, ...] = (
    Choice("quick", "Quick clone", "Minutes, on any computer"),
    Choice("vits", "Full training", "Studio quality; hours, wants a graphics card"),
)
LENGTHS: dict[TrainerName, tuple[Choice, ...]] = {
    "quick": (
        Choice("90", "1.5 minutes", "A first impression"),
        Choice("180", "3 minutes", "Enough for one minute of clips"),
        Choice("300", "5 minutes", "Good for four minutes of clips and more"),
        Choice("900", "15 minutes", "For the last bit of clearness"),
    ),
    "vits": (
        Choice("3600", "1 hour", "Fine-tuning on a graphics card"),
        Choice("14400", "4 hours", "Thirty minutes of clips"),
        Choice("43200", "12 hours", "From scratch on a graphics card"),
        Choice("86400", "24 hours", "From scratch, much material"),
    ),
}
USUAL: dict[TrainerName, str] = {"quick": "300", "vits": "14400"}
RATES = (
    Choice("22050", "22 kHz", "Full sound"),
    Choice("16000", "16 kHz", "Smaller and faster, a little duller"),
)


LEAST_FROM_SCRATCH_MIN = 60.0
SCRATCH = Choice("none", "Nothing (from scratch)", "Hours of clips and days of time")


@dataclass(frozen=True, slots=True)
class Wish:
    """What was chosen."""

    name: str
    trainer: TrainerName
    seconds: float
    rate_hz: int
    character_id: str
    base: str = ""
    trusted: str = ""

    def body(self, speaker: str) -> dict[str, Any]:
        """The request."""
        return {
            "name": self.name,
            "speaker": speaker,
            "trainer": self.trainer,
            "budget": {"seconds": self.seconds},
            "rate_hz": self.rate_hz,
            "character_id": self.character_id,
            **({"base": self.base} if self.trainer == "vits" else {}),
            **({"allow_unsafe_base": self.trusted} if self.trusted else {}),
        }


def slug(text: str) -> str:
    """A text as a voice's name: plain letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_NAME]


def proposed_name(owner: str, taken: Iterable[str]) -> str:
    """The next free "owner-v4"."""
    base = slug(owner) or "voice"
    known = {name.casefold() for name in taken}
    number = 1
    while f"{base}-v{number}" in known:
        number += 1
    return f"{base}-v{number}"


def material_in_words(speaker: Speaker | None, *, from_scratch: bool = False) -> tuple[str, str]:
    """What there is to learn from, and the colour of the words; from scratch, a voice needs far more of it."""
    if speaker is None:
        return "Choose a speaker first.", "text3"
    minutes = sum(speaker.minutes.values())
    if not speaker.accepted:
        return "No accepted clips yet: record or import some, then accept them.", "warn"
    many = "clip" if speaker.accepted == 1 else "clips"
    words = f"{minutes:.1f} minutes in {speaker.accepted:,} accepted {many}"
    if from_scratch and minutes < LEAST_FROM_SCRATCH_MIN:
        return (
            f"{words}: from scratch it learns no words from that. Take Quick clone, or a base.",
            "warn",
        )
    if minutes < 0.5:
        return f"{words}: little. Half a minute is the least that gives a likeness.", "warn"
    if minutes < 2:
        return f"{words}: a likeness. Four minutes make most words clear.", "text2"
    return f"{words}.", "text2"


class TrainForm(Panel):
    """The form.

    Args:
        master: The card.
        cockpit: What is known.
        started: Called with the new job's id.
        close: Go back to the training that is there; None where there is none.
    """

    def __init__(
        self,
        master: tk.Misc,
        cockpit: Cockpit,
        *,
        started: Callable[[str], object],
        close: Callable[[], object],
    ) -> None:
        super().__init__(master, cockpit.app.theme, "surface")
        self.cockpit = cockpit
        self._started = started
        self._close = close
        self._owner = ""
        self._is_own_name = False
        self._is_asking = False
        self.trouble = ""
        self._trusted = ""
        t = self.theme
        self.voice_name = Field(
            self, t, placeholder="Name of the voice", on_change=self._named, on_enter=lambda _: self.start(),
            height=30, surface="surface", label="Name of the voice",
        )  # fmt: skip
        self.trainer = Dropdown(
            self, t, TRAINERS, self._trainer_chosen, value="quick", width=170, height=30, surface="surface", label="How",
        )  # fmt: skip
        self.length = Dropdown(
            self, t, LENGTHS["quick"], lambda _: None, value=USUAL["quick"], width=150, height=30, surface="surface",
            label="How long",
        )  # fmt: skip
        self.rate = Dropdown(
            self, t, RATES, lambda _: None, value="22050", width=110, height=30, surface="surface", label="Sample rate",
        )  # fmt: skip
        self.base = Dropdown(
            self, t, [SCRATCH], lambda _: self.changed(), value=SCRATCH.value, width=230, height=30, surface="surface",
            label="Starts from",
        )  # fmt: skip
        self.giving = Switch(self, t, on=True, label="Give it to the character")
        self.go = Button(
            self, t, "Train", self.start, icon="bolt", kind="soft", height=30, surface="surface"
        )
        cockpit.watch(("speakers", "jobs", "character", "voices"), lambda _: self.follow())
        self.follow()

    def follow(self) -> None:
        """Another speaker, job or character: the proposed name and what is said of the material."""
        speaker = self.cockpit.speaker
        owner = speaker.name if speaker is not None else ""
        if owner != self._owner:
            self._owner, self._is_own_name = owner, False
        if not self._is_own_name:
            taken = [job.name for job in self.cockpit.jobs if job.kind == "train"]
            self.voice_name.set(proposed_name(owner, [*taken, *self.cockpit.voices]))
        self.go.enable(self._can_start())
        self.changed()

    def wish(self) -> Wish:
        """What is chosen now."""
        character = self.cockpit.character
        give = self.giving.on and character is not None
        trainer: TrainerName = "vits" if self.trainer.value == "vits" else "quick"
        return Wish(
            self.voice_name.text.strip(),
            trainer,
            float(self.length.value),
            int(self.rate.value),
            character.id if give and character is not None else "",
            self.base.value if trainer == "vits" else "",
            self._trusted if trainer == "vits" else "",
        )

    def start(self) -> None:
        """Ask for the training."""
        if not self._can_start():
            return
        self._is_asking, self.trouble = True, ""
        self.go.enable(False)

        def done(answer: Any) -> None:
            self._is_asking = self._is_own_name = False
            job_id = str(answer.get("job_id") or "") if isinstance(answer, dict) else ""
            self.cockpit.load_jobs()
            self._started(job_id)
            self.follow()

        def failed(failure: Failure) -> None:
            self._is_asking, self.trouble = False, failure.message
            self.follow()

        body = self.wish().body(self.cockpit.speaker_id)
        self.cockpit.ask("POST", "/api/voice/train", body, done, failed)

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width = p.width
        is_scratch = self.trainer.value == "vits" and self.base.value == SCRATCH.value
        words, tone = material_in_words(self.cockpit.speaker, from_scratch=is_scratch)
        item = p.text(16, 4, words, "small", tone, "nw", width=width - 32)
        box = self.bbox(item)
        y = max(38.0, (box[3] / t.scale if box else 24.0) + 16)
        x = 16.0
        asked: list[tuple[str, Field | Dropdown]] = [
            ("Name", self.voice_name), ("How", self.trainer), ("How long", self.length), ("Sound", self.rate),
        ]  # fmt: skip
        if self.trainer.value == "vits":
            asked.append(("Starts from", self.base))
        else:
            self.base.place_forget()
        for title, control in asked:
            is_name = control is self.voice_name
            wide = (
                min(NAME_WIDTH, width - 32)
                if is_name
                else control.winfo_reqwidth() / t.scale - 2 * RING
            )
            if x > 16 and x + wide > width - 12:
                x, y = 16.0, y + 54
            p.text(x, y - 2, title, "cap", "text3")
            if is_name:
                control.place(x=t.px(x), y=t.px(y + 10), width=t.px(wide))
            else:
                control.place(x=t.px(x - RING), y=t.px(y + 10 - RING))
            x += wide + 12
        y += 60
        character = self.cockpit.character
        x = 16.0
        if character is not None:
            self.giving.place(x=t.px(x - RING), y=t.px(y - 11 - RING))
            x += self.giving.winfo_reqwidth() / t.scale - 2 * RING + 8
            p.text(
                x, y, f"{character.name} speaks with it when it is done", "small", "text2",
                clip=max(20.0, width - 16 - x),
            )  # fmt: skip
            y += 30
        else:
            self.giving.place_forget()
        self.go.place(x=t.px(16 - RING), y=t.px(y - 8 - RING))
        at = 16 + self.go.winfo_reqwidth() / t.scale - 2 * RING + 10
        if self.cockpit.jobs_of("train"):
            at += self.button("back", at, y - 7, "Back", self._close, kind="plain") + 8
        note, color = self._note()
        p.text(at, y + 7, note, "cap", color, clip=max(20.0, width - 12 - at))
        self.content_height = y + 30
        if self.trouble:
            item = p.text(16, y + 28, self.trouble, "small", "error", "nw", width=width - 32)
            box = self.bbox(item)
            self.content_height = (box[3] / t.scale if box else y + 60) + 6

    def _note(self) -> tuple[str, str]:
        if not self.cockpit.may_use and self.cockpit.speaker is not None:
            return "The speaker has not agreed yet.", "warn"
        if self._is_asking:
            return "Starting...", "text3"
        if not slug(self.voice_name.text):
            return "The voice needs a name.", "warn"
        return "", "text3"

    def _can_start(self) -> bool:
        speaker = self.cockpit.speaker
        return (
            not self._is_asking
            and speaker is not None
            and speaker.accepted > 0
            and self.cockpit.may_use
            and bool(slug(self.voice_name.text))
        )

    def _named(self, text: str) -> None:
        self._is_own_name = bool(text.strip())
        self.trouble = ""
        self.voice_name.mark(bool(text) and not slug(text))
        self.go.enable(self._can_start())
        self.changed()

    def _trainer_chosen(self, value: str) -> None:
        trainer: TrainerName = "vits" if value == "vits" else "quick"
        self.length.set_choices(LENGTHS[trainer], USUAL[trainer])
        if trainer == "vits":
            self._load_bases()
        self.changed()

    def _load_bases(self) -> None:
        """Offer the checkpoints that are here."""

        def took(answer: Any) -> None:
            found = read_models(BaseFile, answer)
            offered = [
                Choice(one.path, one.title, f"{one.size_bytes / 1e6:,.0f} MB") for one in found
            ]
            known = [choice.value for choice in offered]
            value = (
                self.base.value
                if self.base.value in known
                else (known[0] if known else SCRATCH.value)
            )
            self.base.set_choices([*offered, SCRATCH], value)
            self.changed()

        self.cockpit.app.backend.get("/api/voice/bases", took)

    def trust(self, job: Job) -> None:
        """Start a training again that asked whether its base may be converted: yes, exactly this file."""
        base = self.base.value

        def took(answer: Any) -> None:
            self._trusted = str(answer.get("sha256") or "") if isinstance(answer, dict) else ""
            self.voice_name.set(job.name)
            self.start()
            self._trusted = ""

        path = f"/api/voice/bases/digest?path={quote(base, safe='')}"
        self.cockpit.app.backend.get(path, took, self.cockpit.fail, timeout_s=60.0)


def quick_or_full(job: Job) -> str:
    """A training's way in words."""
    return "full training" if job.trainer == "vits" else "quick clone"
