"""The wizard line: six steps from recordings to a character that speaks, how far each is, and the one next step.

`plan` decides from plain facts and draws nothing, so that the next step can be tested for every state there is.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from backend.contracts.training import JobState
from frontend.theme import Theme
from frontend.widgets.panel import Panel
from frontend.widgets.training.state import ENDED, Cockpit, Focus

HEIGHT = 60
StepState = Literal["done", "warning", "current", "todo"]
Action = Literal[
    "speaker", "consent", "record", "process", "review", "examine", "doctor", "train", "resume", "listen", "use", "talk",
    "wait",
]  # fmt: skip
STEPS: tuple[tuple[Focus, str], ...] = (
    ("record", "Record or import"),
    ("clips", "Clips"),
    ("doctor", "Doctor"),
    ("train", "Train"),
    ("listen", "Listen"),
    ("use", "Use"),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides about the next step.

    Attributes:
        may_use: The speaker agreed, or is no person.
        files: Sound files that came; ``waiting`` of them are not cut into clips yet, ``refused`` cannot be.
        making: A processing runs; its share 0-1, -1 where unknown, None = none runs.
        problems: Findings that should be solved first; ``hints`` are the lesser ones.
        knows_problems: The doctor's card was looked at since.
        training: State of the newest training, empty = never trained.
        samples: Checkpoints that can be heard.
        voice: Name of the finished voice.
    """

    has_speaker: bool = True
    may_use: bool = True
    files: int = 0
    waiting: int = 0
    refused: int = 0
    clips: int = 0
    accepted: int = 0
    making: float | None = None
    examining: bool = False
    examined: bool = False
    outdated: bool = False
    problems: int = 0
    hints: int = 0
    knows_problems: bool = False
    training: JobState | Literal[""] = ""
    can_resume: bool = False
    share: float | None = None
    samples: int = 0
    voice: str = ""
    listened: bool = False
    character: str = ""
    given: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it is drawn."""

    name: Focus
    title: str
    state: StepState
    result: str = ""
    tone: str = "text3"


PHASES = {
    "queued": "about to start",
    "preflight": "checking",
    "prepare": "reading clips",
    "align": "finding sounds",
    "train": "first steps",
    "export": "making the voice",
    "verify": "trying the voice",
}
"""What a training does while it has no figure of its own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The line: the steps, and what the filled button does."""

    steps: tuple[Step, ...]
    action: Action
    label: str
    icon: str = ""


def plan(facts: Facts) -> Plan:
    """What is done, and the one next step."""
    action, at, label, icon = _next(facts)
    results = {
        "record": _recorded(facts),
        "clips": f"{facts.accepted:,} of {facts.clips:,}" if facts.clips else "",
        "doctor": _examined(facts),
        "train": _trained(facts),
        "listen": "heard" if facts.listened else "",
        "use": f"{facts.character or 'she'} speaks with it" if facts.given else "",
    }
    steps = []
    for name, title in STEPS:
        state = _state(name, facts)
        if name == at and state in ("todo", "done"):
            state = "current"
        steps.append(Step(name, title, state, results[name], _tone(name, state, facts)))
    return Plan(tuple(steps), action, label, icon)


def _next(facts: Facts) -> tuple[Action, Focus, str, str]:
    """Action, the step it belongs to, its words and icon."""
    training = facts.training
    is_training = bool(training) and training not in ENDED
    if not facts.has_speaker:
        return "speaker", "record", "Add a speaker", "person"
    if is_training and training == "paused":
        return "resume", "train", "Resume", "play"
    if is_training:
        if facts.samples:
            return "listen", "train", "Listen to best", "play"
        return "wait", "train", "Training...", "clock"
    if not facts.may_use:
        return "consent", "record", "Ask for consent", "shield"
    if facts.making is not None and not facts.accepted:
        return "wait", "clips", "Making clips...", "clock"
    if facts.waiting and facts.making is None:
        many = "s" if facts.waiting > 1 else ""
        return "process", "clips", f"Make clips of {facts.waiting} file{many}", "bolt"
    if not facts.clips:
        return "record", "record", "Record sentences", "record"
    if not facts.accepted:
        return "review", "clips", "Review the clips", "check"
    if training in ("interrupted", "failed") and facts.can_resume:
        return "resume", "train", "Resume the training", "play"
    if training == "done" and facts.voice:
        if facts.given:
            return "talk", "use", f"Talk with {facts.character}"[:28], "chat"
        if not facts.listened:
            return "listen", "listen", "Listen to it", "play"
        if facts.character:
            return "use", "use", f"Give it to {facts.character}"[:28], "heart"
        return "use", "use", "Use it", "heart"
    if facts.examining:
        return "wait", "doctor", "Examining...", "clock"
    if not facts.examined or facts.outdated:
        return "examine", "doctor", "Examine the clips", "shield"
    if facts.problems and not facts.knows_problems:
        return "doctor", "doctor", "See what to fix", "shield"
    return "train", "train", "Train again" if training else "Train the voice", "bolt"


def _state(name: Focus, facts: Facts) -> StepState:
    """How far a step is, without regard to which one is next."""
    training = facts.training
    if name == "record":
        if facts.refused:
            return "warning"
        is_done = facts.clips > 0 or facts.making is not None or facts.files > facts.waiting
        return "done" if is_done and facts.may_use else "todo"
    if name == "clips":
        if facts.making is not None:
            return "current"
        return "done" if facts.accepted else "todo"
    if name == "doctor":
        if facts.examining:
            return "current"
        if not facts.examined or facts.outdated:
            return "todo"
        return "warning" if facts.problems or facts.hints else "done"
    if name == "train":
        if training in ("failed", "interrupted"):
            return "warning"
        if training and training not in ENDED:
            return "current"
        return "done" if training == "done" else "todo"
    if name == "listen":
        return "done" if facts.listened and training == "done" else "todo"
    return "done" if facts.given else "todo"


def _tone(name: Focus, state: StepState, facts: Facts) -> str:
    """Colour of the second line: warnings and work under way stand out."""
    if state == "warning":
        is_error = (name == "train" and facts.training == "failed") or (
            name == "doctor" and facts.problems > 0
        )
        return "error" if is_error else "warn"
    return "accent" if state == "current" else "text3"


def _recorded(facts: Facts) -> str:
    if not facts.has_speaker:
        return "whose voice is it?"
    if not facts.may_use:
        return "needs consent"
    if facts.refused:
        return f"{facts.files:,} file{_s(facts.files)}, {facts.refused} refused"
    return f"{facts.files:,} file{_s(facts.files)}" if facts.files else ""


def _examined(facts: Facts) -> str:
    if facts.examining:
        return "looking"
    if not facts.examined:
        return ""
    if facts.outdated:
        return "clips have changed"
    if facts.problems:
        return f"{facts.problems} problem{_s(facts.problems)}"
    return f"{facts.hints} hint{_s(facts.hints)}" if facts.hints else "healthy"


def _trained(facts: Facts) -> str:
    training = facts.training
    if not training or training == "cancelled":
        return "stopped" if training else ""
    if training in ("done", "failed", "interrupted", "paused"):
        return training
    # Each phase counts from 0 to 100 %: only the training itself is worth a figure.
    if training != "train" or facts.share is None:
        return PHASES.get(training, training)
    return percent(facts.share)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def percent(share: float) -> str:
    """A share as "64 %"."""
    return f"{share:.0%}".replace("%", " %")


def facts_of(cockpit: Cockpit) -> Facts:
    """What the cockpit knows, as far as it decides about the next step."""
    speaker, job, report = cockpit.speaker, cockpit.training, cockpit.report
    sounds = [one for one in cockpit.uploads if one.kind == "sound"]
    usable = [one for one in cockpit.uploads if not one.problem]
    making = cockpit.running("process")
    findings = report.findings if report is not None else ()
    return Facts(
        has_speaker=speaker is not None,
        may_use=cockpit.may_use,
        files=len(sounds),
        waiting=sum(not one.processed for one in usable if one.kind == "sound"),
        refused=sum(bool(one.problem) for one in cockpit.uploads),
        clips=speaker.clips if speaker is not None else 0,
        accepted=speaker.accepted if speaker is not None else 0,
        making=None if making is None else -1.0 if making.progress is None else making.progress,
        examining=cockpit.running("doctor") is not None,
        examined=report is not None,
        outdated=report is not None and report.outdated,
        problems=sum(one.severity == "problem" for one in findings),
        hints=sum(one.severity in ("warning", "hint") for one in findings),
        knows_problems=report is not None
        and cockpit.app.state.get("voice.doctor_seen") == report.at.isoformat(),
        training=job.state if job is not None else "",
        can_resume=job is not None and job.can_resume,
        share=job.progress if job is not None else None,
        samples=sum(bool(one.sample_url) for one in cockpit.checkpoints),
        voice=cockpit.voice,
        listened=cockpit.listened,
        character=cockpit.character.name if cockpit.character is not None else "",
        given=cockpit.is_given,
    )


class WizardLine(Panel):
    """The line, as a card.

    Args:
        master: The widget it lies in.
        theme: Colours, fonts and sizes.
        cockpit: What is known.
        act: Does the next step.
    """

    def __init__(
        self, master: tk.Misc, theme: Theme, cockpit: Cockpit, act: Callable[[Action], object]
    ) -> None:
        super().__init__(master, theme)
        self.cockpit = cockpit
        self._act = act
        topics = (
            "speakers", "clips", "doctor", "jobs", "progress", "checkpoints", "uploads", "character", "page",
        )  # fmt: skip
        cockpit.watch(topics, lambda _: self._maybe())  # type: ignore[arg-type]  # a tuple of literals
        self._shown: tuple[Plan, Focus] | None = None

    @property
    def plan(self) -> Plan:
        """What the line says now."""
        return plan(facts_of(self.cockpit))

    def _maybe(self) -> None:
        if (self.plan, self.cockpit.focus) != self._shown:
            self.changed()

    def paint(self) -> None:
        p = self.painter
        width, middle = p.width, p.height / 2
        p.card(0, 0, width, p.height)
        if not self.cockpit.is_loaded:
            words = self.cockpit.problems.get("speakers", "")
            if words:
                p.icon(26, middle, "warn", 16, "warn", 2)
                p.text(44, middle, words, "small", "text2", clip=width - 160)
                self.button("retry", width - 14, middle - 15, "Try again", self.cockpit.load,
                            kind="accent", height=30, anchor="e")  # fmt: skip
            return
        now = self.plan
        self._shown = (now, self.cockpit.focus)
        press = None if now.action == "wait" else partial(self._act, now.action)
        wide = max(118.0, p.text_width(now.label, "smallb") + 48)
        self.button("next", width - 12, middle - 15, now.label, press, kind="accent", icon=now.icon,
                    width=wide, height=30, anchor="e")  # fmt: skip
        self._paint_steps(now, 18, width - wide - 30)

    def _paint_steps(self, now: Plan, left: float, right: float) -> None:
        """The steps side by side: with their words where there is room, else only the one that is next."""
        p = self.painter
        room = right - left
        words = [
            max(p.text_width(step.title, "smallb"), p.text_width(step.result, "cap"))
            for step in now.steps
        ]
        full = sum(words) + len(words) * (24 + 10) + (len(words) - 1) * 24
        marked = [step.state in ("current",) for step in now.steps]
        here = marked.index(True) if True in marked else -1
        with_words = [full <= room or number == here for number in range(len(words))]
        if full > room and here >= 0:
            spare = room - len(words) * 24 - (len(words) - 1) * 14
            if words[here] + 10 > spare:
                words[here] = max(0.0, spare - 10)
                with_words[here] = words[here] > 40
        used = sum(24 + (10 + words[n] if with_words[n] else 0) for n in range(len(words)))
        gap = max(8.0, min(90.0, (room - used) / max(1, len(words) - 1)))
        x = left
        for number, step in enumerate(now.steps):
            wide = 24 + (10 + words[number] if with_words[number] else 0)
            self._paint_step(step, number + 1, x, wide, words[number] if with_words[number] else 0)
            x += wide
            if number < len(words) - 1:
                tone = "ok" if step.state in ("done", "warning") else "line2"
                inset = 8 if gap > 26 else 3
                if gap > 2 * inset:
                    p.line(x + inset, p.height / 2, x + gap - inset, p.height / 2, tone)
                x += gap

    def _paint_step(self, step: Step, number: int, x: float, wide: float, words: float) -> None:
        p, middle = self.painter, self.painter.height / 2
        is_here = self.cockpit.focus == step.name
        tip = step.title + (f": {step.result}" if step.result else "")
        zone = self.zone(
            f"step:{step.name}", x - 4, middle - 19, wide + 8, 38,
            partial(self.cockpit.look_at, step.name), tip=tip,
        )  # fmt: skip
        self._backing(zone, None, None)
        fill, mark, tone = {
            "done": ("ok_soft", "check", "ok"),
            "warning": ("warn_soft", "warn", "warn"),
            "current": ("accent", "", "on_accent"),
            "todo": ("surface", "", "text3"),
        }[step.state]
        if step.tone == "error":
            fill, tone = "error_soft", "error"
        p.box(x, middle - 12, 24, 24, fill, "line2" if step.state == "todo" else None, 12)
        if mark:
            p.icon(x + 12, middle, mark, 13, tone, 2)
        else:
            p.text(x + 12, middle, str(number), "smallb", tone, "center")
        if not words:
            if is_here:
                p.rect(x, middle + 19, 24, 2, "accent")
            return
        at = x + 34
        color = "text3" if step.state == "todo" and not is_here else "text"
        if step.result:
            p.text(at, middle - 8, step.title, "smallb", color, clip=words + 2)
            p.text(at, middle + 9, step.result, "cap", step.tone, clip=words + 2)
        else:
            p.text(
                at,
                middle,
                step.title,
                "small" if color == "text3" else "smallb",
                color,
                clip=words + 2,
            )
        if is_here:
            p.rect(at, middle + 19, words, 2, "accent")
