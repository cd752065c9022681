"""Whose voice it is: the choice in the page's head, and the card that adds a speaker and asks for consent.

Nothing is recorded or trained from a person's voice before the person has agreed. The card asks that first, in plain
words, and keeps what was agreed to with the speaker.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from typing import Any, Literal
from urllib.parse import quote

from backend.contracts.training import Speaker
from frontend.client import Failure
from frontend.stage import read_models
from frontend.widgets.controls import RING, Button, Check, Dropdown, Radio
from frontend.widgets.field import Field
from frontend.widgets.panel import Panel
from frontend.widgets.popup import Choice, Picker
from frontend.widgets.training.state import Cockpit

FIRST_HEIGHT = 340.0
LONGEST_NAME = 60
NEW, EDIT = "+new", "+edit"
LANGUAGES = {
    "en-us": "English (US)",
    "en-gb": "English (UK)",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "pt-br": "Portuguese (BR)",
    "pt": "Portuguese",
    "nl": "Dutch",
    "pl": "Polish",
    "ru": "Russian",
    "ja": "Japanese",
    "cmn": "Chinese",
}


def language_name(code: str) -> str:
    """A language in words; one without a name keeps its code."""
    return LANGUAGES.get(code, code)


def statement(name: str) -> str:
    """What a person agrees to; kept word by word with the speaker."""
    who = name.strip() or "The speaker"
    return (
        f"{who} agrees that this voice is recorded and kept on this computer, that a computer voice is made from it, and "
        f"that this voice may speak in public, in streams and recordings of them. {who} can take this back at any time: "
        f"deleting the speaker removes every recording."
    )


class SpeakerBar(tk.Frame):
    """Speaker, language, import and record, in the head of the tab.

    Args:
        master: The head.
        cockpit: What is known.
        edit: Open the card: for a new speaker (None) or to change one.
        bring_in: Called with "files" or "folder".
        record: Open the guided recording.
    """

    def __init__(
        self,
        master: tk.Misc,
        cockpit: Cockpit,
        *,
        edit: Callable[[Speaker | None], object],
        bring_in: Callable[[str], object],
        record: Callable[[], object],
    ) -> None:
        super().__init__(master, borderwidth=0, highlightthickness=0)
        self.cockpit = cockpit
        self._edit = edit
        t = self.theme = cockpit.app.theme
        t.tint(self, background="bg")
        self.who = Dropdown(
            self, t, [], self._chosen, width=190, height=28, label="Speaker", empty="No speaker yet",
            tip="Whose recordings are shown",
        )  # fmt: skip
        self.language = Dropdown(
            self, t, [], self._spoken, width=140, height=28, label="Language of this speaker",
            tip="Language that is spoken in the recordings",
        )  # fmt: skip
        self.consent = Button(
            self, t, "", self._ask_consent, icon="shield", kind="plain", label="Consent"
        )
        self.recording = Button(
            self, t, "Record", record, icon="record", tip="Read sentences aloud, one by one"
        )
        self.importing = Button(
            self,
            t,
            "Import",
            self._import,
            icon="upload",
            tip="Bring in recordings that are there already",
        )
        self._bring_in = bring_in
        for widget in (self.who, self.language, self.consent):
            widget.pack(side="left", pady=(t.px(1), 0))
        for widget in (self.recording, self.importing):
            widget.pack(side="right", pady=(t.px(1), 0))
        self.bind("<Configure>", lambda _: self.follow())
        cockpit.watch(("speakers",), lambda _: self.follow())
        self.follow()

    def follow(self) -> None:
        """Show the speakers as they are."""
        cockpit = self.cockpit
        speaker = cockpit.speaker
        choices = [
            Choice(one.id, one.name, f"{one.accepted} of {one.clips} clips accepted", "person")
            for one in cockpit.speakers
        ]
        choices.append(Choice(NEW, "New speaker...", icon="plus"))
        if speaker is not None:
            choices.append(Choice(EDIT, f"Change or delete {speaker.name[:24]}...", icon="edit"))
        self.who.set_choices(choices, cockpit.speaker_id)
        wide = self.winfo_width() / self.theme.scale
        self.who.resize(190 if wide > 500 else 130)
        codes = dict.fromkeys([*LANGUAGES, *([speaker.language] if speaker else [])])
        self.language.set_choices(
            [Choice(code, language_name(code)) for code in codes],
            speaker.language if speaker else "",
        )
        self._show(self.language, speaker is not None and wide > 720)
        self.recording.enable(cockpit.is_loaded)
        self.importing.enable(cockpit.is_loaded)
        has_words = wide > 600
        if speaker is None:
            self._show(self.consent, False)
            return
        self._show(self.consent, True)
        if speaker.synthetic:
            words, color, tip = (
                "Made by a machine",
                "text3",
                "No person's voice: no consent is needed",
            )
        elif speaker.consent:
            when = f" {speaker.consent_at:%d %b %Y}" if speaker.consent_at is not None else ""
            words, color, tip = "Agreed" + when, "ok", speaker.consent
        else:
            words, color = "No consent yet", "warn"
            tip = f"{speaker.name} has not agreed yet: nothing can be recorded or trained"
        self.consent.color = color
        self.consent.tooltip.text = tip
        self.consent.set(words if has_words else "")
        self.consent.label = words
        self.consent.redraw_soon()

    def _show(self, widget: tk.Widget, wanted: bool) -> None:
        if wanted and not widget.winfo_manager():
            before = self.who if widget is self.language else None
            after = before or (self.language if self.language.winfo_manager() else self.who)
            widget.pack(side="left", after=after, pady=(self.theme.px(1), 0))
        elif not wanted and widget.winfo_manager():
            widget.pack_forget()

    def _chosen(self, value: str) -> None:
        if value in (NEW, EDIT):
            self.who.set(self.cockpit.speaker_id)
            self._edit(self.cockpit.speaker if value == EDIT else None)
        else:
            self.cockpit.choose_speaker(value)

    def _spoken(self, code: str) -> None:
        speaker = self.cockpit.speaker
        if speaker is not None:
            path = f"/api/voice/speakers/{quote(speaker.id, safe='')}"
            self.cockpit.ask(
                "PATCH", path, {"language": code}, lambda _: self.cockpit.load_speakers()
            )

    def _import(self) -> None:
        choices = [
            Choice("files", "Files...", "Sound, or lists of transcripts", "upload"),
            Choice("folder", "A whole folder...", "With everything in it", "folder"),
        ]
        Picker(self.importing, self.theme, choices, self._bring_in)

    def _ask_consent(self) -> None:
        self._edit(self.cockpit.speaker)


class SpeakerForm(Panel):
    """The card that adds or changes a speaker.

    Args:
        master: The widget it lies in.
        cockpit: What is known.
        close: Put the card away.
        resized: Called when it wants another height.
    """

    def __init__(
        self,
        master: tk.Misc,
        cockpit: Cockpit,
        close: Callable[[], object],
        resized: Callable[[], object],
    ) -> None:
        t = cockpit.app.theme
        super().__init__(master, t)
        self.cockpit = cockpit
        self._close, self._resized = close, resized
        self.wanted_height = FIRST_HEIGHT
        """Design pixels it needs at its width."""
        self.speaker: Speaker | None = None
        self.trouble = ""
        self.is_busy = False
        self.is_asking = False
        """Whether it asks for a yes to deleting everything."""
        self.name = Field(
            self, t, placeholder="Name", width=260, height=32, surface="surface", label="Name of the speaker",
            on_change=lambda _: self._changed(), on_enter=lambda _: self.save(),
        )  # fmt: skip
        self.language = Dropdown(
            self, t, [Choice(code, name) for code, name in LANGUAGES.items()], value="en-us",
            width=170, height=30, surface="surface", label="Language",
        )  # fmt: skip
        self.person = Radio(
            self, t, "A person's voice", lambda on: self._set_kind("person"), on=True
        )
        self.machine = Radio(
            self, t, "Made by a machine (a synthesiser, nobody's own voice)",
            lambda on: self._set_kind("machine"),
        )  # fmt: skip
        self.agreed = Check(
            self, t, "Yes, that is agreed, and I may say so", lambda on: self._changed()
        )
        self.saving = Button(
            self, t, "Save", self.save, kind="accent", surface="surface", height=30
        )
        self.cancelling = Button(self, t, "Cancel", close, surface="surface", height=30)
        self.deleting = Button(
            self, t, "Delete...", self._ask_delete, icon="trash", color="error", surface="surface", height=30
        )  # fmt: skip
        self.bind("<Escape>", lambda _: self._leave())
        self.name.entry.bind("<Escape>", lambda _: self._leave())

    def open(self, speaker: Speaker | None) -> None:
        """Begin with a new speaker, or with what is known of one."""
        self.speaker = speaker
        self.trouble, self.is_busy, self.is_asking = "", False, False
        self.name.set(speaker.name if speaker else "")
        self.language.set(speaker.language if speaker else "en-us")
        self._set_kind("machine" if speaker is not None and speaker.synthetic else "person")
        self.agreed.set(bool(speaker and speaker.consent))
        self._changed()
        self.after_idle(self.name.entry.focus_set)

    def save(self) -> None:
        """Save the speaker, then the consent, then look at the speaker's clips."""
        name = self.name.text.strip()[:LONGEST_NAME]
        if not name or self.is_busy:
            self.name.mark(not name)
            return
        self.is_busy, self.trouble = True, ""
        cockpit, speaker = self.cockpit, self.speaker
        fields: dict[str, Any] = {"name": name, "language": self.language.value}
        if speaker is None:
            fields["synthetic"] = self.machine.on
            cockpit.ask("POST", "/api/voice/speakers", fields, self._saved, self._failed)
        else:
            path = f"/api/voice/speakers/{quote(speaker.id, safe='')}"
            cockpit.ask("PATCH", path, fields, self._saved, self._failed)
        self._changed()

    def paint(self) -> None:
        p, t = self.painter, self.theme
        width = p.width
        speaker = self.speaker
        p.card(0, 0, width, p.height)
        title = "Whose voice is it?" if speaker is None else speaker.name
        p.text(16, 24, title, "title", clip=width - 32)
        words = "Clips, examinations and trainings belong to one speaker."
        p.text(16, 47, words, "small", "text3", clip=width - 32)
        if self.is_asking and speaker is not None:
            self._paint_question(speaker)
            return
        y = 70.0
        field = min(260.0, width - 32)
        self.name.place(x=t.px(16), y=t.px(y), width=t.px(field), height=t.px(32))
        if width >= 500:
            self.language.place(x=t.px(16 + field + 12 - RING), y=t.px(y + 1 - RING))
        else:
            y += 38
            self.language.place(x=t.px(16 - RING), y=t.px(y + 1 - RING))
        self._lay(self.person, y + 44)
        self._lay(self.machine, y + 70)
        y += 104
        if self.person.on:
            inner = min(620.0, width - 56)
            item = p.text(
                28, y + 12, statement(self.name.text), "small", "text2", "nw", width=inner
            )
            box = self.bbox(item)
            high = (box[3] - box[1]) / t.scale if box else 60.0
            p.box(16, y, inner + 24, high + 24, "raised", None, 6)
            self.tag_raise(item)
            y += high + 32
            self._lay(self.agreed, y)
            y += 32
        else:
            self.agreed.place_forget()
            words = "Nobody has to agree. Say so to your viewers all the same: they like to know."
            p.text(16, y + 12, words, "small", "text2", clip=width - 32)
            y += 36
        at = 16.0
        self.cancelling.place_forget()
        can_leave = bool(self.cockpit.speakers)  # the first one there must be
        for button in (
            self.saving,
            *([self.cancelling] if can_leave else []),
            *([self.deleting] if speaker else []),
        ):
            self._lay(button, y, at)
            at += button.winfo_reqwidth() / t.scale - 2 * RING + 8
        if speaker is None:
            self.deleting.place_forget()
        words, color = "", "text3"
        if self.trouble:
            words, color = self.trouble, "error"
        elif self.person.on and not self.agreed.on:
            words, color = "Until it is agreed, nothing can be recorded or trained.", "warn"
        if words and width - at > 320:
            p.text(at + 8, y + 15, words, "small", color, clip=width - at - 24)
        elif words:
            y += 34
            p.text(16, y + 12, words, "small", color, clip=width - 32)
        if abs(y + 48 - self.wanted_height) > 1:
            self.wanted_height = y + 48
            self._resized()

    def _paint_question(self, speaker: Speaker) -> None:
        p = self.painter
        for widget in (
            self.name, self.language, self.person, self.machine, self.agreed, self.saving, self.cancelling, self.deleting,
        ):  # fmt: skip
            widget.place_forget()
        p.icon(27, 88, "warn", 18, "warn", 2)
        many = f"{speaker.clips} clip" + ("" if speaker.clips == 1 else "s")
        words = (
            f"Delete {speaker.name} with {many} and every file that came? This cannot be undone. Finished voices stay: "
            f"delete those on the Voices page."
        )
        p.text(46, 78, words, "body", "text", "nw", width=min(620.0, p.width - 64))
        wide = self.button(
            "sure", 16, 150, "Delete everything", self._delete, icon="trash", color="error"
        )
        self.button("keep", 24 + wide, 150, "Keep", self._keep)

    def _lay(self, widget: tk.Widget, y: float, x: float = 16) -> None:
        widget.place(x=self.theme.px(x - RING), y=self.theme.px(y - RING))

    def _set_kind(self, kind: Literal["person", "machine"]) -> None:
        fixed = self.speaker is not None and bool(self.speaker.consent)
        self.person.set(kind == "person")
        self.machine.set(kind == "machine")
        self.machine.enable(not fixed and self.speaker is None)
        self.person.enable(self.speaker is None)
        self._changed()

    def _changed(self) -> None:
        self.agreed.enable(not (self.speaker is not None and self.speaker.consent))
        self.saving.enable(bool(self.name.text.strip()) and not self.is_busy)
        if self.name.text.strip():
            self.name.mark(False)
        self.changed()

    def _saved(self, answer: Any) -> None:
        found: Sequence[Speaker] = read_models(Speaker, [answer])
        if not found:
            self._failed(Failure("malformed", "The backend's answer could not be read."))
            return
        saved = found[0]
        if self.person.on and self.agreed.on and not saved.consent:
            path = f"/api/voice/speakers/{quote(saved.id, safe='')}/consent"
            self.speaker = saved  # a failure from here on changes this one, it does not add another
            self.cockpit.ask(
                "POST", path, {"statement": statement(saved.name)}, self._over, self._failed
            )
        else:
            self._over(answer)

    def _over(self, answer: Any) -> None:
        self.is_busy = False
        for saved in read_models(Speaker, [answer]):
            known = [one for one in self.cockpit.speakers if one.id != saved.id]
            self.cockpit.speakers = [*known, saved]
            self.cockpit.choose_speaker(saved.id)
        self.cockpit.load_speakers()
        self.cockpit.tell("speakers")
        self._close()

    def _failed(self, failure: Failure) -> None:
        self.is_busy, self.trouble = False, failure.message
        self._changed()

    def _ask_delete(self) -> None:
        self.is_asking = True
        self.changed()
        self.after_idle(lambda: self.focus_zone("keep"))

    def _keep(self) -> None:
        self.is_asking = False
        self.changed()

    def _delete(self) -> None:
        speaker = self.speaker
        if speaker is None:
            return
        safe = quote(speaker.id, safe="")

        def done(_: Any) -> None:
            self.cockpit.app.notify(f"{speaker.name} and all recordings were deleted.", "ok")
            self.cockpit.load_speakers()
            self._close()

        def failed(failure: Failure) -> None:
            self._keep()
            self._failed(failure)

        self.cockpit.ask("DELETE", f"/api/voice/speakers/{safe}?confirm={safe}", None, done, failed)

    def _leave(self) -> str:
        if self.cockpit.speakers:
            self._close()
        return "break"
