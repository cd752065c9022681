"""The characters window: everybody Luma can be, made, edited, copied, deleted, brought in and handed out.

Changes wait until Save, per character, so that one may look at another meanwhile; they also outlive the window until the
program ends. Pictures, copies and imports act at once.
"""

from __future__ import annotations

import logging
import re
import tkinter as tk
from pathlib import Path
from tkinter import filedialog
from typing import Any, Literal, Protocol
from urllib.parse import quote

from backend.contracts.entities import Character, VoiceInfo
from frontend.client import Failure
from frontend.owner import WindowOwner
from frontend.pictures import NEUTRAL, Avatars
from frontend.stage import Stage, read_model, read_models
from frontend.tabs import Notice
from frontend.theme import Theme
from frontend.widgets.character_form import CharacterForm, FieldPath, value_at
from frontend.widgets.controls import Button, Words
from frontend.widgets.popup import Choice, Picker
from frontend.widgets.row_list import RowList
from frontend.widgets.toplevel import OneWindow

logger = logging.getLogger(__name__)

SIZE = (980, 720)
SMALLEST = (640, 420)
SIDE = 240
NEW_NAME = "New character"
SAMPLE = "Hello! This is how I sound."
HEARD = 200  # characters of a greeting that are enough to judge a voice
PLAY_TIMEOUT_S = 60.0
CARDS = [("Character card", "*.png *.json"), ("All files", "*")]
PICTURES = [("Picture", "*.png *.jpg *.jpeg *.webp"), ("All files", "*")]
EXPORTS = (
    ("png/v3", "Picture with the card in it (PNG)", "what SillyTavern and others exchange"),
    ("json/v3", "Text, version 3 (JSON)", "without the picture"),
    ("json/v2", "Text, version 2 (JSON)", "for older programs"),
)

Draft = dict[FieldPath, object]


class Owner(WindowOwner, Protocol):
    """What the characters window needs of the main window."""

    @property
    def stage(self) -> Stage:
        """Who there is and who is on."""

    @property
    def avatars(self) -> Avatars:
        """Pictures of the characters."""

    @property
    def drafts(self) -> dict[str, Draft]:
        """Changes that are not saved, by character."""


class CharacterWindow(OneWindow):
    """The window; one at a time, `open` raises the one there is."""

    @classmethod
    def open(cls, owner: Owner, character_id: str = "") -> CharacterWindow:
        """Show it, at a character where one is named."""
        window = cls.one(lambda: cls(owner))
        window.show_character(character_id or window.shown or owner.stage.character_id)
        window.list.focus_force()
        return window

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner.root, owner.theme, "Luma characters")
        self._owner = owner
        self._stage = owner.stage
        self.shown = ""
        """Id of the character in the form."""
        self._wanted = ""
        self._silence_job: str | None = None
        self._asking: Literal["", "delete", "reset"] = ""
        theme, px = owner.theme, owner.theme.px
        self._build_side()
        self._build_head()
        foot = self._foot(16, 10)
        self.save_button = Button(
            foot, theme, "Save", self.save, kind="accent", icon="check", tip="Save   Ctrl+S"
        )
        self.save_button.pack(side="right")
        self.revert_button = Button(foot, theme, "Undo changes", self.revert, icon="refresh")
        self.revert_button.pack(side="right", padx=px(4))
        self.summary = Words(foot, theme, "", "small", "text2")
        self.summary.pack(side="left", fill="x", expand=True)
        self._scroll = self._scrolled(8, 12)
        foot.lift()  # Tab follows the stacking order: Save comes after what is saved
        self.form = CharacterForm(
            self._scroll.inner,
            theme,
            owner.avatars,
            changed=self._changed,
            hear=self.hear_or_stop,
            picture=self._ask_picture,
        )
        self.form.pack(fill="x", padx=(0, px(8)))
        self.bind("<Control-s>", lambda _: self.save())
        self.bind("<Control-n>", lambda _: self.create())
        self._ends = [
            self._stage.listen(("characters", "character"), self._refresh),
        ]
        self._appear(SIZE, SMALLEST)
        owner.backend.get("/api/voices", self._took_voices, self._failed)

    # --- what others call -----------------------------------------------------------------------------------------

    def show_character(self, character_id: str) -> None:
        """Show one in the form."""
        character = self._find(character_id)
        if character is None:
            found = self._stage.characters
            if not found:
                self.summary.show("The characters have not been loaded yet.")
                return
            character = found[0]
        if character.id != self.shown:
            self.shown = character.id
            self._asking = ""
            self._scroll.to_top()
            self.summary.show("")
        self.list.show(self._stage.characters, character.id)
        self._show_head(character)
        self.form.show(character, self.draft)
        self._count()

    @property
    def draft(self) -> Draft:
        """What was changed of the shown character and not saved."""
        return self._owner.drafts.setdefault(self.shown, {})

    def save(self) -> None:
        """Send what was changed of the shown character."""
        self.form.report()
        if not self.draft or not self.save_button.enabled:
            return
        character_id, sent = self.shown, dict(self.draft)
        self.save_button.enable(False)
        self.summary.show("Saving...")

        def saved(value: Any) -> None:
            if self.winfo_exists():
                self.form.report()
            kept = self._owner.drafts.get(character_id, {})
            for path, value_sent in sent.items():
                if kept.get(path) == value_sent:  # what was typed meanwhile stays a change
                    kept.pop(path)
            self._take(value)
            if self.winfo_exists() and self.shown == character_id:
                self.summary.show("" if kept else "Saved.", "ok")

        def refused(failure: Failure) -> None:
            self._failed(failure)
            if self.winfo_exists():
                self._count(failure.message)

        self._owner.backend.patch(_path(character_id), _body(sent), saved, refused)

    def revert(self) -> None:
        """Forget the changes of the shown character."""
        self.draft.clear()
        self.show_character(self.shown)
        self.summary.show("")

    def create(self) -> None:
        """Make a character and put the keyboard into its name."""

        def made(value: Any) -> None:
            self._take(value, show=True)
            if self.winfo_exists():
                self.form.focus_name()

        self._owner.backend.post("/api/characters", {"name": NEW_NAME}, made, self._failed)

    def duplicate(self) -> None:
        """Copy the shown character."""
        if self.shown:
            self._owner.backend.post(
                f"{_path(self.shown)}/duplicate", {}, self._took_new, self._failed
            )

    def choose_import(self) -> None:
        """Ask for a character card and bring it in."""
        name = filedialog.askopenfilename(
            parent=self, title="Import a character card", filetypes=CARDS
        )
        if name:
            self.bring_in(Path(name))

    def bring_in(self, file: Path) -> None:
        """Make a character of a card file."""
        self.summary.show(f"Reading {file.name}...", "text2")
        self._owner.backend.upload(
            "/api/characters/import", [("file", file)], None, self._took_import, self._failed
        )

    def choose_export(self) -> str:
        """Ask for the kind of card."""
        choices = [
            Choice(value, title, detail, icon="download") for value, title, detail in EXPORTS
        ]
        Picker(self.export_button, self._theme, choices, self._choose_place, width=320)
        return "break"

    def export_to(self, file: Path, kind: str, version: str) -> None:
        """Write the shown character to a card file."""
        name = self._shown_name()

        def took(data: bytes) -> None:
            try:
                file.write_bytes(data)
            except OSError as error:
                self._say(
                    f"{file.name} cannot be written to {file.parent}: {error.strerror or error}.",
                    "error",
                )
                return
            self._say(f"{name} is in {file}", "ok")

        path = f"{_path(self.shown)}/export?kind={kind}&version={version}"
        self._owner.backend.download(path, took, self._failed)

    def ask(self, what: Literal["", "delete", "reset"]) -> None:
        """Ask in place before something that cannot be taken back; empty withdraws the question."""
        self._asking = what
        character = self._find(self.shown)
        if character is not None:
            self._show_head(character)
        (self._no_button if what else self.list).focus_set()

    def hear_or_stop(self) -> None:
        """Say the greeting in the voice that is set now, or stop saying it."""
        backend = self._owner.backend
        if self.form.hear.icon == "stop":
            self._silent()
            backend.post("/api/audio/stop", {}, None, None)
            return
        character = self._find(self.shown)
        if character is None:
            return
        body = {"text": self._sample(character), "voice": self._voice(character), "play": True}
        self.form.hear.set("Stop", "stop")
        self.form.said.show("Making the sound...", "text3")
        backend.post("/api/tts", body, self._spoken, self._not_spoken, timeout_s=PLAY_TIMEOUT_S)

    def close(self) -> None:
        """Close; what was not saved is kept for the next time, and said so."""
        names = [
            character.name
            for character in self._stage.characters
            if self._owner.drafts.get(character.id)
        ]
        if names:
            verb = "has" if len(names) == 1 else "have"
            self._owner.notify(
                f"{', '.join(names)[:120]} {verb} changes that are not saved yet. "
                "They wait in the characters window.",
                "warn",
            )
        self.destroy()
        self._owner.root.focus_force()

    # --- building -------------------------------------------------------------------------------------------------

    def _build_side(self) -> None:
        theme, px = self._theme, self._theme.px
        side = tk.Frame(self, width=px(SIDE))
        theme.tint(side, background="rail")
        side.pack(side="left", fill="y")
        side.pack_propagate(False)
        foot = tk.Frame(side)
        theme.tint(foot, background="rail")
        foot.pack(side="bottom", fill="x", padx=px(9), pady=px(9))
        Button(
            foot, theme, "New", self.create, icon="plus", surface="rail", tip="New   Ctrl+N"
        ).pack(side="left")
        Button(
            foot,
            theme,
            "Import",
            self.choose_import,
            icon="upload",
            surface="rail",
            tip="Bring in a SillyTavern character card: PNG or JSON",
        ).pack(side="left", padx=px(2))
        Words(side, theme, "Characters", "title", "text", "rail").pack(
            fill="x", padx=px(14), pady=(px(16), px(8))
        )
        self.list = CharacterList(side, theme, self._owner, self)
        self.list.pack(fill="both", expand=True)
        foot.lift()

    def _build_head(self) -> None:
        theme, px = self._theme, self._theme.px
        head = tk.Frame(self)
        theme.tint(head, background="bg")
        head.pack(fill="x", padx=px(16), pady=(px(14), 0))
        self._face = tk.Label(head, borderwidth=0)
        theme.tint(self._face, background="bg")
        self._face.pack(side="left", padx=(0, px(12)), anchor="n")
        right = tk.Frame(head)
        theme.tint(right, background="bg")
        right.pack(side="left", fill="x", expand=True)
        self._title = Words(right, theme, "", "h1")
        self._title.pack(fill="x")
        self._sub = Words(right, theme, "", "cap", "text3")
        self._sub.pack(fill="x")
        self._actions = tk.Frame(right)
        theme.tint(self._actions, background="bg")
        self._question = tk.Frame(right)
        theme.tint(self._question, background="bg")
        line = self._actions
        self.talk_button = Button(
            line, theme, "Put on stage", self._talk, kind="accent", icon="chat", tip="Put on stage   Enter in the list"
        )  # fmt: skip
        self.copy_button = Button(line, theme, "Duplicate", self.duplicate, icon="copy")
        self.export_button = Button(line, theme, "Export", self.choose_export, icon="download")
        self.reset_button = Button(
            line, theme, "Reset", lambda: self.ask("reset"), icon="refresh",
            tip="Back to how it came with Luma",
        )  # fmt: skip
        self.delete_button = Button(
            line, theme, "Delete", lambda: self.ask("delete"), icon="trash",
            tip="Delete   Delete in the list",
        )  # fmt: skip
        for button in (self.talk_button, self.copy_button, self.export_button):
            button.pack(side="left", padx=(0, px(2)))
        self._worded = {
            button: button.text
            for button in (
                self.copy_button, self.export_button, self.reset_button, self.delete_button,
            )
        }  # fmt: skip
        for button, words in self._worded.items():
            button.tooltip.text = button.tooltip.text or words
        right.bind("<Configure>", lambda event: self._arrange_actions(event.width))
        self._question_words = Words(self._question, theme, "", "smallb", "text")
        self._question_words.pack(fill="x", pady=(px(4), 0))
        self.yes_button = Button(
            self._question, theme, "Delete", self._do_asked, kind="danger", icon="trash"
        )
        self.yes_button.pack(side="left")
        self._no_button = Button(self._question, theme, "Keep", lambda: self.ask(""))
        self._no_button.pack(side="left", padx=px(2))
        theme.on_change(self._face, self._show_face)

    # --- showing --------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """The characters were loaded again, or another one is on."""
        if not self.winfo_exists():
            return
        known = {character.id for character in self._stage.characters}
        for gone in [each for each in self._owner.drafts if each and each not in known]:
            del self._owner.drafts[gone]
        if self._wanted and self._wanted in known:
            wanted, self._wanted = self._wanted, ""
            self.show_character(wanted)
        else:
            self.show_character(self.shown)

    def _show_head(self, character: Character) -> None:
        px = self._theme.px
        name = str(self.draft.get(("name",), character.name)) or "No name"
        self._title.show(name)
        is_on = character.id == self._stage.character_id
        parts = ["on stage" if is_on else "", "came with Luma" if character.builtin else ""]
        if character.creator and not character.builtin:
            parts.append(f"by {character.creator}")
        if character.tags:
            parts.append(", ".join(character.tags))
        self._sub.show("  \u00b7  ".join(part for part in parts if part) or "yours")
        self._show_face()
        self.talk_button.set("On stage" if is_on else "Put on stage")
        self.talk_button.enable(not is_on)
        shown, other = (
            (self.reset_button, self.delete_button)
            if character.builtin
            else (self.delete_button, self.reset_button)
        )
        other.pack_forget()
        shown.pack(side="left")
        if self._asking:
            words = {
                "delete": f"Delete {name}? The pictures go too; what was said stays."
                + (" Somebody else goes on stage." if is_on else ""),
                "reset": f"Bring {name} back to how it came? Your changes and pictures go.",
            }[self._asking]
            self._question_words.show(words)
            self.yes_button.set(self._asking.capitalize())
            self._actions.pack_forget()
            self._question.pack(fill="x")
        else:
            self._question.pack_forget()
            self._actions.pack(fill="x", pady=(px(4), 0))

    def _arrange_actions(self, width: int) -> None:
        """Where words do not fit, the icons say it, and their tooltips."""
        is_wide = width >= self._theme.px(450)
        for button, words in self._worded.items():
            button.set(words if is_wide else "")

    def _show_face(self) -> None:
        if self.shown:
            picture = self._owner.avatars.picture(self.shown, NEUTRAL, 72)
            self._face.configure(image=picture)
            self._face.image = picture  # type: ignore[attr-defined]  # Tk forgets pictures nobody holds

    def _count(self, trouble: str = "") -> None:
        count = len(self.draft)
        is_named = bool(str(self.draft.get(("name",), "x")).strip())
        self.form.name.mark(not is_named)
        self.save_button.enable(count > 0 and is_named)
        self.revert_button.enable(count > 0)
        if trouble:
            self.summary.show(trouble, "error")
        elif not is_named:
            self.summary.show("A character needs a name.", "error")
        elif count:
            self.summary.show("Changed, not saved yet.", "accent")

    # --- changing -------------------------------------------------------------------------------------------------

    def _changed(self, path: FieldPath, value: object) -> None:
        character = self._find(self.shown)
        if character is None:
            return
        if value == value_at(character, path):
            self.draft.pop(path, None)
        else:
            self.draft[path] = value
        if path == ("name",):
            self._show_head(character)
        if not self.draft:
            self.summary.show("")
        self._count()
        self.list.changed()

    def _talk(self) -> None:
        if self.shown:
            self._stage.switch_character(self.shown)

    def _do_asked(self) -> None:
        what, character_id, name = self._asking, self.shown, self._shown_name()
        self.ask("")
        if what == "delete":

            def deleted(_: Any) -> None:
                self._owner.drafts.pop(character_id, None)
                self._drop(character_id)
                self._say(f"{name} was deleted.", "ok")

            self._owner.backend.delete(_path(character_id), None, deleted, self._failed)
        elif what == "reset":

            def done(value: Any) -> None:
                self._owner.drafts.pop(character_id, None)
                self._take(value)
                self._say(f"{name} is as it came.", "ok")

            self._owner.backend.post(f"{_path(character_id)}/reset", {}, done, self._failed)

    def _ask_picture(self, expression: str) -> None:
        name = filedialog.askopenfilename(
            parent=self, title=f"A picture for {expression}", filetypes=PICTURES
        )
        if name:
            self.give_picture(expression, Path(name))

    def give_picture(self, expression: str, file: Path) -> None:
        """Keep a file as the picture of one expression."""
        character_id = self.shown
        self.summary.show(f"Reading {file.name}...", "text2")

        def done(value: Any) -> None:
            self._owner.avatars.forget(character_id)
            self._take(value)
            self._say(f"{file.name} is the picture for {expression} now.", "ok")

        self._owner.backend.upload(
            f"{_path(character_id)}/picture",
            [("file", file)],
            {"expression": expression},
            done,
            self._failed,
        )

    def _choose_place(self, chosen: str) -> None:
        kind, _, version = chosen.partition("/")
        safe = re.sub(r"[^\w -]+", "", self._shown_name()).strip() or "character"
        name = filedialog.asksaveasfilename(
            parent=self,
            title=f"Export {self._shown_name()}",
            initialfile=f"{safe}.{kind}",
            defaultextension=f".{kind}",
        )
        if name:
            self.export_to(Path(name), kind, version)

    # --- answers --------------------------------------------------------------------------------------------------

    def _take(self, value: Any, *, show: bool = False) -> None:
        """A character as the backend has it now; the list follows by an event, the form at once."""
        character = read_model(Character, value)
        if character is None:
            return
        known = self._stage.characters
        if any(each.id == character.id for each in known):
            self._stage.characters = [
                character if each.id == character.id else each for each in known
            ]
        else:
            self._stage.characters = [*known, character]
        if show:
            self._wanted = character.id
        if self.winfo_exists():
            self.show_character(character.id if show else self.shown)

    def _drop(self, character_id: str) -> None:
        """A character is gone: the next one in the list takes its place."""
        ids = [each.id for each in self._stage.characters]
        left = [each for each in self._stage.characters if each.id != character_id]
        self._stage.characters = left
        if self.winfo_exists() and self.shown == character_id and left:
            at = ids.index(character_id) if character_id in ids else 0
            self.show_character(left[min(at, len(left) - 1)].id)

    def _took_new(self, value: Any) -> None:
        self._take(value, show=True)

    def _took_import(self, value: Any) -> None:
        self._take(value, show=True)
        if isinstance(value, dict):
            self._say(f"{value.get('name', 'The character')} is here.", "ok")

    def _took_voices(self, value: Any) -> None:
        if self.winfo_exists():
            self.form.offer_voices(read_models(VoiceInfo, value, "voices", "items"))

    def _failed(self, failure: Failure) -> None:
        self._say(failure.message, "error")

    def _say(self, words: str, severity: Notice) -> None:
        """In this window while it is open, else in the main one."""
        if self.winfo_exists():
            self.summary.show(words, severity)
        else:
            self._owner.notify(words, severity)

    # --- sound ----------------------------------------------------------------------------------------------------

    def _sample(self, character: Character) -> str:
        """What the voice is heard with: the greeting as it would be spoken."""
        text = str(self.draft.get(("greeting",), character.greeting))
        text = re.sub(r"\[[^\]\n]{1,40}\]|\*[^*\n]{1,80}\*", " ", text)
        text = text.replace("{{char}}", self._shown_name()).replace("{{user}}", "you")
        return " ".join(text.split())[:HEARD] or SAMPLE

    def _voice(self, character: Character) -> dict[str, Any]:
        choice = character.voice.model_dump()
        for path, value in self.draft.items():
            if path[0] == "voice":
                choice[path[1]] = value
        return choice

    def _spoken(self, value: Any) -> None:
        if not self.winfo_exists() or not isinstance(value, dict):
            return
        seconds = float(value.get("duration_s") or 0.0)
        self.form.said.show(
            f"{seconds:.1f} s by {value.get('voice') or value.get('engine')}", "text3"
        )
        self._silence_job = self.after(round(seconds * 1000) + 500, self._silent)

    def _not_spoken(self, failure: Failure) -> None:
        if self.winfo_exists():
            self._silent()
            self.form.said.show(failure.message, "error")

    def _silent(self) -> None:
        if self._silence_job is not None:
            self.after_cancel(self._silence_job)
            self._silence_job = None
        self.form.hear.set("Hear", "play")

    # --- small ----------------------------------------------------------------------------------------------------

    def _find(self, character_id: str) -> Character | None:
        return next((c for c in self._stage.characters if c.id == character_id), None)

    def _shown_name(self) -> str:
        character = self._find(self.shown)
        return character.name if character else self.shown

    def _escape(self) -> None:
        if self._asking:
            self.ask("")
        else:
            self.close()

    def _gone(self) -> None:
        if self._silence_job is not None:
            self.after_cancel(self._silence_job)
            self._silence_job = None


class CharacterList(RowList):
    """Everybody, with face and state; Enter puts one on stage, Delete asks."""

    row_height = 52.0

    def __init__(
        self, master: tk.Misc, theme: Theme, owner: Owner, window: CharacterWindow
    ) -> None:
        super().__init__(master, theme, "rail")
        self._owner = owner
        self._window = window
        self.characters: list[Character] = []

    def show(self, characters: list[Character], chosen: str) -> None:
        """Show these, one of them chosen."""
        self.characters = list(characters)
        for number, character in enumerate(self.characters):
            if character.id == chosen:
                self.current = number
                self.reveal(number)
        self.changed()

    def count(self) -> int:
        return len(self.characters)

    def chosen(self, number: int) -> None:
        self._window.show_character(self.characters[number].id)

    def act(self, number: int, key: str) -> None:
        character = self.characters[number]
        if key == "<Return>":
            self._owner.stage.switch_character(character.id)
        elif key == "<Delete>":
            self._window.ask("reset" if character.builtin else "delete")

    def paint_row(self, number: int, y: float, width: float) -> None:
        p = self.painter
        character = self.characters[number]
        middle = y + self.row_height / 2
        p.image(12, middle, self._owner.avatars.picture(character.id, NEUTRAL, 34), "w")
        draft = self._owner.drafts.get(character.id)
        end = width - 12
        if draft:
            p.dot(end - 3, middle, 3.5, "accent")
            end -= 16
        is_on = character.id == self._owner.stage.character_id
        name = str((draft or {}).get(("name",), character.name))
        p.text(56, middle - 9, name, "smallb", clip=end - 56)
        words, color = character.personality.mood or "yours", "text3"
        if is_on:
            words, color = "on stage", "ok"
        elif character.builtin:
            words = f"{words}  \u00b7  built in"
        p.text(56, middle + 9, words, "cap", color, clip=end - 56)


def _path(character_id: str) -> str:
    return f"/api/characters/{quote(character_id, safe='')}"


def _body(draft: Draft) -> dict[str, Any]:
    """A draft as the nested object that a PATCH takes."""
    body: dict[str, Any] = {}
    for path, value in draft.items():
        where = body
        for name in path[:-1]:
            where = where.setdefault(name, {})
        where[path[-1]] = list(value) if isinstance(value, tuple) else value
    return body
