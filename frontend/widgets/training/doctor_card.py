"""What the doctor says of the clips before the first step: verdict, findings with figures and the way out, lengths, sounds.

A finding that is about certain clips shows them in the table when it is pressed.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from functools import partial

from backend.contracts.training import DoctorReport, Finding, FindingSeverity
from frontend.widgets.panel import ButtonKind, Panel, Zone
from frontend.widgets.training.state import Cockpit

HEAD = 42
SIGNS: dict[FindingSeverity, tuple[str, str, str]] = {
    "problem": ("hand", "error", "error_soft"),
    "warning": ("warn", "warn", "warn_soft"),
    "hint": ("info", "accent", "accent_soft"),
    "ok": ("check", "ok", "ok_soft"),
}
"""Severity to icon, colour and soft colour."""
ORDER: tuple[FindingSeverity, ...] = ("problem", "warning", "hint", "ok")


class DoctorCard(Panel):
    """The card.

    Args:
        master: The widget it lies in.
        cockpit: What is known.
        record: Open the guided recording with the suggested sentences.
        shown: Called after clips were selected, so that the table comes into sight.
    """

    def __init__(
        self,
        master: tk.Misc,
        cockpit: Cockpit,
        *,
        record: Callable[[], object],
        shown: Callable[[], object],
    ) -> None:
        super().__init__(master, cockpit.app.theme)
        self.cockpit = cockpit
        self._shown = shown
        self.body = _Findings(self, record)
        cockpit.watch(("doctor", "jobs", "progress", "speakers", "clips"), lambda _: self._told())

    def show_clips(self, finding: Finding) -> None:
        """Show the clips a finding is about in the table."""
        self.cockpit.clips.show_only(finding.clips, finding.title)
        self._shown()

    def seen(self) -> None:
        """The findings were looked at: the wizard offers to go on in spite of them."""
        report = self.cockpit.report
        if report is not None:
            mark = report.at.isoformat()
            if self.cockpit.app.state.get("voice.doctor_seen") != mark:
                self.cockpit.app.state["voice.doctor_seen"] = mark
                self.cockpit.tell("doctor")

    def paint(self) -> None:
        p = self.painter
        width, height = p.width, p.height
        report = self.cockpit.report
        job = self.cockpit.running("doctor")
        p.card(0, 0, width, height)
        p.text(16, 21, "Doctor", "bodyb")
        start = 26 + p.text_width("Doctor", "bodyb")
        right = width - 14
        if report is not None and job is None:
            kind: ButtonKind = "soft" if report.outdated else "ghost"
            right -= self.button(
                "again", right, 8, "Examine again", self.cockpit.examine, icon="refresh", height=26, anchor="e", kind=kind
            ) + 10  # fmt: skip
            when = f"{report.at.astimezone():%d %b %H:%M}"
            words = f"{when}  \u00b7  the clips have changed since" if report.outdated else when
            p.text(
                start,
                21.5,
                words,
                "small",
                "warn" if report.outdated else "text3",
                clip=right - start,
            )
        if job is not None:
            p.text(
                start,
                21.5,
                job.message or "Examining the clips",
                "small",
                "text3",
                clip=right - start,
            )
            self.working(16, HEAD - 2, width - 32, job.progress)
        if report is None:
            self.body.place_forget()
            if job is None:
                self._paint_empty(width, height)
            return
        t = self.theme
        top = HEAD + (8 if job is not None else 0)
        self.body.place(
            x=t.px(8),
            y=t.px(top),
            width=max(1, t.px(width - 16)),
            height=max(1, t.px(height - 8) - t.px(top)),
        )

    def _paint_empty(self, width: float, height: float) -> None:
        p, cockpit = self.painter, self.cockpit
        middle = height / 2
        problem = cockpit.problems.get("doctor", "")
        speaker = cockpit.speaker
        p.icon(width / 2, middle - 44, "warn" if problem else "shield", 24, "text3")
        if problem:
            words, label, press = problem, "Try again", cockpit.load_report
        elif speaker is None or not speaker.accepted:
            words = "The doctor looks at accepted clips: noise, clipping, wrong words, missing sounds. There are none yet."
            p.text(
                width / 2, middle - 24, words, "small", "text2", "n", width=min(400.0, width - 48)
            )
            return
        else:
            words = "Not examined yet. It takes about a second per minute of clips and says what to fix first."
            label, press = "Examine the clips", cockpit.examine
        p.text(width / 2, middle - 24, words, "small", "text2", "n", width=min(400.0, width - 48))
        wide = p.text_width(label, "small") + 24
        self.button("way_out", (width - wide) / 2, middle + 26, label, press)

    def _told(self) -> None:
        self.changed()
        self.body.changed()


class _Findings(Panel):
    """What scrolls: verdict, findings, lengths, coverage."""

    def __init__(self, card: DoctorCard, record: Callable[[], object]) -> None:
        super().__init__(card, card.theme, "surface")
        self.card = card
        self._record = record

    def paint(self) -> None:
        report = self.card.cockpit.report
        if report is None:
            return
        p = self.painter
        width = p.width - 12
        item = p.text(8, 4, report.verdict[:400], "bodyb", "text", "nw", width=width - 16)
        y = self._below(item) + 4
        minutes = sum(report.minutes.values())
        parts = [f"{minutes:.1f} min"]
        parts += [
            f"{grade} {report.minutes[grade]:.1f}" for grade in "ABC" if report.minutes.get(grade)
        ]
        p.text(8, y + 8, "  \u00b7  ".join(parts), "cap", "text3", clip=width - 16)
        y += 22
        for number, finding in enumerate(
            sorted(report.findings, key=lambda one: ORDER.index(one.severity))
        ):
            if finding.severity != "ok":
                y = self._paint_finding(number, finding, y, width)
        y = self._paint_fine([one for one in report.findings if one.severity == "ok"], y, width)
        y = self._paint_lengths(report, y + 6, width)
        y = self._paint_coverage(report, y + 6, width)
        self.content_height = y + 8

    def _paint_finding(self, number: int, finding: Finding, y: float, width: float) -> float:
        p = self.painter
        name, tone, soft = SIGNS[finding.severity]
        left, room = 44.0, width - 56
        start = y
        back = None
        if finding.clips:
            back = self.zone(
                f"finding:{number}", 4, y, width - 4, 30, partial(self.card.show_clips, finding),
                tip=f"Show {len(finding.clips)} clip{'' if len(finding.clips) == 1 else 's'} in the table",
            )  # fmt: skip
        p.box(12, y + 4, 22, 22, soft, None, 11)
        p.icon(23, y + 15, name, 14, tone, 1.6)
        link = (
            f"{len(finding.clips)} clip{'' if len(finding.clips) == 1 else 's'}"
            if finding.clips
            else ""
        )
        wide = p.text_width(link, "smallb") + 14 if link else 0.0
        p.text(left, y + 15, finding.title, "smallb", clip=room - wide)
        if link:
            p.text(width - 10, y + 15, link, "smallb", "accent", "e")
        y += 28
        for words, color in ((finding.detail, "text3"), (finding.fix, "text2")):
            if words:
                item = p.text(left, y, words[:600], "cap", color, "nw", width=room)
                y = self._below(item) + 2
        y += 4
        if back is not None:
            back.height = y - start - 2
            self._under(back, start, width)
        return y

    def _paint_fine(self, findings: list[Finding], y: float, width: float) -> float:
        """What is as it should be, in a few words each; the figures are in the tooltips."""
        p = self.painter
        x, y = 12.0, y + 4
        for number, finding in enumerate(findings):
            words = finding.title[:40]
            wide = p.text_width(words, "cap") + 32
            if x + wide > width - 4 and x > 12:
                x, y = 12.0, y + 26
            p.chip(x, y + 11, words, "ok", "ok_soft", icon="check", height=22)
            self.zone(f"fine:{number}", x, y, wide, 22, None, tip=finding.detail, radius=11)
            x += wide + 6
        return y + 32 if findings else y

    def _under(self, zone: Zone, top: float, width: float) -> None:
        """A fill below what was drawn of a finding, seen while the pointer is over it."""
        t = self.theme
        item = self.painter.rect(4, top, width - 4, zone.height, "surface")
        self.tag_lower(item)
        calm, hot = t.color("surface"), t.mix("surface", "hover", 0.6)
        zone.hovers.append((item, {"fill": calm}, {"fill": hot}))

    def _paint_lengths(self, report: DoctorReport, y: float, width: float) -> float:
        """How many clips are how long."""
        if not report.lengths:
            return y
        p = self.painter
        p.line(8, y, width - 4, y)
        p.text(8, y + 16, "Lengths", "smallb", "text2")
        p.text(width - 6, y + 16, "2 to 10 s are best", "cap", "text3", "e")
        most = max(count for *_, count in report.lengths) or 1
        base, high = y + 78, 44.0
        slot = (width - 16) / len(report.lengths)
        for number, (first, last, count) in enumerate(report.lengths):
            x = 8 + number * slot
            tone = "accent" if first >= 2 and last <= 10 else "warn"
            tall = high * count / most
            if count:
                p.rect(x + 1, base - max(2.0, tall), max(2.0, slot - 3), max(2.0, tall), tone)
            self.zone(f"length:{number}", x, y + 30, slot, 50, None,
                      tip=f"{count} clips of {first:g} to {last:g} s")  # fmt: skip
            if number % max(1, round(30 / max(1.0, slot))) == 0:
                p.text(x, base + 9, f"{first:g}", "cap", "text3")
        p.line(8, base, width - 8, base)
        p.text(width - 6, base + 9, f"{report.lengths[-1][1]:g} s", "cap", "text3", "e")
        return base + 24

    def _paint_coverage(self, report: DoctorReport, y: float, width: float) -> float:
        """Which sounds of the language are there, and what to record for the others."""
        p = self.painter
        p.line(8, y, width - 4, y)
        p.text(8, y + 16, "Sounds of the language", "smallb", "text2")
        p.text(
            width - 6,
            y + 16,
            f"{report.coverage:.0%} heard often enough".replace("%", " %"),
            "cap",
            "text3",
            "e",
        )
        self.progress(
            8, y + 30, width - 16, report.coverage, "ok" if report.coverage > 0.9 else "warn"
        )
        y += 46
        x = 8.0
        for sound in report.missing[:40]:
            wide = p.text_width(sound[:8], "small") + 16
            if x + wide > width - 8:
                x, y = 8.0, y + 26
            p.chip(x, y + 10, sound[:8], "text2", "raised", font="small", height=22)
            x += wide + 6
        if report.missing:
            y += 30
        if report.suggestions:
            count = len(report.suggestions)
            words = f"Record {count} suggested sentence{'' if count == 1 else 's'}"
            self.button("record", 8, y, words, self._record, icon="record", kind="soft")
            y += 34
        return y

    def _below(self, item: int) -> float:
        box = self.bbox(item)
        return box[3] / self.theme.scale if box else 0.0
