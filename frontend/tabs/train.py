"""The Train page of the Voice tab: wizard line, clips beside the chosen clip or the doctor, training beside checkpoints.

Wide, it is a cockpit with everything in sight; below 900 design pixels it shows one step at a time. What a step has no
use for yet takes no room: the upper cards have the whole height until something was trained.
"""

from __future__ import annotations

import logging
import tkinter as tk
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from tkinter import filedialog
from typing import Any
from urllib.parse import quote

from backend.contracts.events import Event
from backend.contracts.training import Speaker
from frontend.tabs import App
from frontend.widgets.scroll_page import ScrollPage, put
from frontend.widgets.training.checkpoint_card import CheckpointCard
from frontend.widgets.training.clip_table import ClipTable
from frontend.widgets.training.clip_view import ClipView
from frontend.widgets.training.doctor_card import DoctorCard
from frontend.widgets.training.import_bar import LISTS, SOUNDS, ImportBar
from frontend.widgets.training.speaker_bar import SpeakerBar, SpeakerForm
from frontend.widgets.training.state import Cockpit, Focus
from frontend.widgets.training.train_card import TrainCard
from frontend.widgets.training.voice_card import MadeVoiceCard
from frontend.widgets.training.wizard import HEIGHT as WIZARD_HEIGHT
from frontend.widgets.training.wizard import Action, WizardLine

logger = logging.getLogger(__name__)

MARGIN = 16
GAP = 12
NARROW = 900
LEAST_UPPER = 280.0
LEAST_LOWER = 270.0
LOWER: tuple[Focus, ...] = ("train", "listen", "use")
"""Steps whose cards lie in the lower half."""


class TrainPage(tk.Frame):
    """The page.

    Args:
        master: The tab.
        app: The window.
        head: The tab's head; the speaker is chosen there.
    """

    def __init__(self, master: tk.Misc, app: App, head: tk.Frame) -> None:
        super().__init__(master, borderwidth=0, highlightthickness=0)
        self.app = app
        self.head = head
        t = self.theme = app.theme
        t.tint(self, background="bg")
        self.cockpit = Cockpit(app, self)
        self.bar = SpeakerBar(
            head,
            self.cockpit,
            edit=self.edit_speaker,
            bring_in=self.choose_import,
            record=self.record,
        )
        self.scroll = ScrollPage(self, t, self._arrange)
        self.scroll.pack(fill="both", expand=True)
        body = self.scroll.body
        self.wizard = WizardLine(body, t, self.cockpit, self.act)
        self.imports = ImportBar(body, self.cockpit, self.scroll.arrange_soon)
        self.form = SpeakerForm(body, self.cockpit, self.close_form, self.scroll.arrange_soon)
        self.table = ClipTable(
            body,
            self.cockpit,
            edit=lambda: self._in_view("edit"),
            trim=lambda: self._in_view("trim"),
            split=lambda: self._in_view("split"),
            record=self.record,
            choose_files=partial(self.choose_import, "files"),
        )
        self.view = ClipView(body, self.cockpit, self.focus_table)
        self.doctor = DoctorCard(
            body, self.cockpit, record=self.record, shown=partial(self.cockpit.look_at, "clips")
        )
        self.training = TrainCard(body, self.cockpit)
        self.checkpoints = CheckpointCard(body, self.cockpit, use=self.give_and_talk)
        self.voice = MadeVoiceCard(body, self.cockpit, use=self.give_and_talk, listen=self._listen)
        self.cards: dict[Focus, tk.Widget] = {
            "clips": self.table,
            "record": self.view,
            "doctor": self.doctor,
            "train": self.training,
            "listen": self.checkpoints,
            "use": self.voice,
        }
        """The card of each step: table of clips, chosen clip ("record"), doctor, training, checkpoints, the voice."""
        self.is_form_open = False
        self._form_beside = ""
        """The speaker who was chosen when that card was opened."""
        self._record_after = False
        """The card was opened on the way to a recording."""
        self._dropped: list[Path] = []
        """Files that wait until it is known whose voice they hold."""
        self.scroll.watch_wheel()
        self._was_empty = False
        self._seen: Focus = self.cockpit.focus
        self.cockpit.watch(("page", "jobs", "speakers", "uploads"), lambda _: self._told())
        self.cockpit.watch(("clips",), lambda _: self._clips_told())
        self.bind("<Destroy>", self._ended)
        self._accept_files()

    # --- handled as a tab is

    def on_event(self, event: Event) -> None:
        """Follow what happens."""
        self.cockpit.on_event(event)

    def flush(self) -> None:
        """Let the cards draw what was gathered."""
        self.cockpit.flush()

    def on_show(self) -> None:
        """The table has the keyboard."""
        t = self.theme
        self.bar.pack(
            side="left", fill="both", expand=True, padx=(t.px(14), t.px(13)), pady=(t.px(4), 0)
        )
        if self.table.rows.winfo_ismapped():
            self.table.rows.focus_quietly()

    def on_hide(self) -> None:
        """Another page is in front."""
        self.bar.pack_forget()

    def on_theme(self) -> None:
        """Cards recolour themselves."""
        self.scroll.arrange_soon()

    def on_connected(self) -> None:
        """Load everything."""
        self.cockpit.load()

    def panes(self) -> list[tk.Misc]:
        """Where F6 goes."""
        stops: list[tk.Misc] = [self.wizard]
        if self.is_form_open:
            return [*stops, self.form.name.entry]
        if self.table.winfo_ismapped():
            stops += [self.table.search.entry, self.table.rows]
        if self.view.winfo_ismapped():
            stops.append(self.view.sound)
        if self.doctor.winfo_ismapped():
            stops.append(self.doctor.body)
        upper = (self.table, self.view, self.doctor)
        return stops + [
            card for card in self.cards.values() if card not in upper and card.winfo_ismapped()
        ]

    def find(self) -> None:
        """Put the keyboard into the search field."""
        self.cockpit.look_at("clips")
        self.scroll.arrange()
        self.table.search.entry.focus_set()

    # --- the next step

    def act(self, action: Action) -> None:
        """Do what the wizard's button says."""
        cockpit = self.cockpit
        job = cockpit.training
        match action:
            case "speaker":
                self.edit_speaker(None)
            case "consent":
                self.edit_speaker(cockpit.speaker)
            case "record":
                self.record()
            case "process":
                self.imports.process()
            case "review":
                cockpit.look_at("clips")
                self.focus_table()
            case "examine":
                cockpit.look_at("doctor")
                cockpit.examine()
            case "doctor":
                cockpit.look_at("doctor")
                self.doctor.seen()
            case "train":
                cockpit.look_at("train")
                self.training.show_form()
            case "resume" if job is not None:
                cockpit.job_asks(job.id, "resume")
            case "listen":
                self._listen()
            case "use":
                self.give_and_talk()
            case "talk":
                self.app.show_tab("chat")

    def _listen(self) -> None:
        """Hear the best checkpoint, beside the others."""
        best = self.cockpit.best
        self.cockpit.look_at("listen")
        if best is not None:
            self.checkpoints.play(best)

    def give_and_talk(self) -> None:
        """Give the finished voice to the character on stage and go where one talks with her."""
        cockpit = self.cockpit
        character, name = cockpit.character, cockpit.voice
        if cockpit.is_given:
            self.app.show_tab("chat")
            return
        cockpit.look_at("use")
        if character is None or not name:
            self.app.notify("There is no active character to give this voice to.", "warn")
            return

        def done(_: Any) -> None:
            self.app.notify(f"{character.name} speaks with {name} now.", "ok")
            self.app.show_tab("chat")

        path = f"/api/characters/{quote(character.id, safe='')}"
        cockpit.ask("PATCH", path, {"voice": {"engine": "piper", "name": name}}, done)

    # --- speaker, recording, files

    def edit_speaker(self, speaker: Speaker | None) -> None:
        """Open the card that adds a speaker, or changes one."""
        self.is_form_open = True
        self._form_beside = self.cockpit.speaker_id
        self.form.open(speaker)
        self.scroll.arrange_soon()

    def close_form(self) -> None:
        """Put that card away; files that waited for a speaker are sent."""
        self.is_form_open = False
        self.scroll.arrange_soon()
        waiting, self._dropped = self._dropped, []
        if waiting and self.cockpit.speaker is not None:
            self.imports.bring_in(waiting)
        self.focus_table()
        if self._record_after and self.cockpit.may_use:
            self.record()
        self._record_after = False

    def record(self) -> None:
        """Open the guided recording; before it, the consent."""
        if not self.cockpit.may_use:
            self._record_after = True
            self.edit_speaker(self.cockpit.speaker)
            return
        from frontend.record_window import RecordWindow

        RecordWindow.open(self.cockpit)

    def choose_import(self, what: str) -> None:
        """Ask for files ("files") or a folder ("folder") and bring them in."""
        if what == "folder":
            folder = filedialog.askdirectory(parent=self, title="Import a folder of recordings")
            chosen = [folder] if folder else []
        else:
            kinds = [
                (
                    "Recordings and transcripts",
                    " ".join(f"*{end}" for end in sorted(SOUNDS | LISTS)),
                ),
                ("All files", "*"),
            ]
            found = filedialog.askopenfilenames(
                parent=self,
                title="Import recordings, and lists of their transcripts",
                filetypes=kinds,
            )
            chosen = list(found or ())
        if chosen:
            self.bring_in(Path(name) for name in chosen)

    def bring_in(self, paths: Iterable[Path]) -> None:
        """Send files and folders; first of all it must be known whose voice they hold."""
        if self.cockpit.speaker is None:
            self._dropped += paths
            self.edit_speaker(None)
        else:
            self.imports.bring_in(paths)

    def focus_table(self) -> None:
        """Give the keyboard to the rows of the table."""
        if not self.is_form_open and self.table.rows.winfo_ismapped():
            self.table.rows.focus_quietly()

    def _in_view(self, what: str) -> None:
        """A key of the table that is about the chosen clip."""
        if self.cockpit.focus == "doctor":
            self.cockpit.look_at("clips")
            self.scroll.arrange()
            self.update_idletasks()
        if what == "edit":
            self.view.edit()
        else:
            self.view.begin("trim" if what == "trim" else "split")

    def _accept_files(self) -> None:
        """Take files and folders that are dropped here, where tkinterdnd2 loads."""
        try:
            from tkinterdnd2 import DND_FILES, TkinterDnD

            TkinterDnD._require(self.winfo_toplevel())
            self.tk.call("tkdnd::drop_target", "register", str(self), DND_FILES)
        except Exception as error:  # noqa: BLE001 - a platform without it loses only dropping
            logger.info("files cannot be dropped here: %s", error)
            return

        def on(sequence: str, run: Callable[..., object], data: str = "") -> None:
            def called(*given: str) -> str:
                run(*given)
                return "copy"

            self.tk.call("bind", str(self), sequence, f"{self.register(called)} {data}")

        # The data only at the drop: asking for it while files are held over the page can stall the drag for seconds.
        on("<<DropEnter>>", lambda: self.table.show_drop(True))
        on("<<DropLeave>>", lambda: self.table.show_drop(False))
        on("<<Drop>>", self.dropped, "%D")

    def dropped(self, data: str) -> None:
        """Files were let go over the page; ``data`` is a Tcl list of their paths."""
        self.table.show_drop(False)
        paths = [Path(name) for name in self.tk.splitlist(data) if name]
        if paths:
            self.bring_in(paths)
        else:
            self.app.notify("The other program handed over no file. Use Import instead.", "warn")

    def _clips_told(self) -> None:
        """The chosen clip has a place only while there are clips."""
        is_empty = self.cockpit.clips.is_empty
        if is_empty != self._was_empty:
            self._was_empty = is_empty
            self.scroll.arrange_soon()

    def _told(self) -> None:
        cockpit = self.cockpit
        if cockpit.is_loaded and not cockpit.speakers and not self.is_form_open:
            self.edit_speaker(None)
        elif (
            self.is_form_open and not self.form.is_busy and cockpit.speaker_id != self._form_beside
        ):
            self.close_form()  # another speaker was chosen, here or by another program
        self.scroll.arrange_soon()
        if cockpit.focus != self._seen:
            self._seen = cockpit.focus
            self.after_idle(self._bring_into_sight)

    def _bring_into_sight(self) -> None:
        """The step that is looked at may lie below the edge of a short window."""
        self.scroll.arrange()
        card = self.cards[self.cockpit.focus]
        if self.is_form_open:
            card = self.form
        if card.winfo_manager():
            self.update_idletasks()
            self.scroll.see(card)

    # --- layout

    def _arrange(self, width: float, height: float) -> float:
        """Place what is in use; the rest is taken off the page."""
        t, room = self.theme, width - 2 * MARGIN
        put(t, self.wizard, MARGIN, 0, room, WIZARD_HEIGHT)
        top = float(WIZARD_HEIGHT + GAP)
        shown = self._narrow() if width < NARROW else self._wide()
        if self.is_form_open or not self.cockpit.is_loaded:
            shown = []
        for card in self.cards.values():
            if not any(card in row for row in shown):
                card.place_forget()
        if self.is_form_open:
            self.imports.place_forget()
            high = self.form.wanted_height
            put(t, self.form, MARGIN, top, min(760.0, room), high)
            return top + high + GAP
        self.form.place_forget()
        # What was refused is old news once she trains: the wizard's first step still counts it, and leads back to it.
        is_past = self.cockpit.focus in LOWER and not self.imports.is_busy
        high = 0.0 if is_past else self.imports.wanted_height(room)
        if high:
            put(t, self.imports, MARGIN, top, room, high)
            top += high + GAP
        else:
            self.imports.place_forget()
        if not shown:
            return top
        free = height - top - GAP * len(shown)
        upper = max(LEAST_UPPER, free if len(shown) == 1 else round(free * 0.52))
        lower = max(LEAST_LOWER, free - upper)
        for row, high in zip(shown, (upper, lower), strict=False):
            left = MARGIN
            for number, card in enumerate(row):
                wide = room if len(row) == 1 else (room - GAP) * (0.555, 0.445)[number]
                put(t, card, left, top, wide, high)
                left += round(wide + GAP)
            top += high + GAP
        return top

    def _wide(self) -> list[list[tk.Widget]]:
        """Two rows of two cards."""
        focus = self.cockpit.focus
        beside: Focus = "doctor" if focus == "doctor" else "record"
        lower: Focus = "use" if focus == "use" else "listen"
        rows: list[tuple[Focus, ...]] = [("clips", beside)]
        if self.cockpit.clips.is_empty and beside == "record":
            rows = [("clips",)]  # there is nothing to be chosen
        if self.cockpit.training is not None or focus in LOWER:
            rows.append(("train", lower))
        found = [[self.cards[name] for name in row if name in self.cards] for row in rows]
        return [row for row in found if row]

    def _narrow(self) -> list[list[tk.Widget]]:
        """One step at a time; the clips with the chosen one below them."""
        focus = self.cockpit.focus
        rows: list[Focus] = ["clips", "record"] if focus in ("record", "clips") else [focus]
        return [[self.cards[name]] for name in rows if name in self.cards]

    def _ended(self, event: Any) -> None:
        if event.widget is self:
            self.cockpit.close()
