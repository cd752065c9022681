"""The Voices page of the Voice tab: the voices on this machine, how they sound, who has which, what can be downloaded."""

from __future__ import annotations

import logging
import tkinter as tk
import webbrowser
from pathlib import Path
from tkinter import filedialog
from typing import Any
from urllib.parse import quote

from backend.contracts.entities import STAGE, Character, ModelInfo, VoiceInfo
from backend.contracts.events import (
    CharacterChanged,
    CharacterSwitched,
    DownloadFinished,
    DownloadProgress,
    Event,
    ModelRemoved,
    ModelSaved,
    PlaybackFinished,
)
from frontend.client import Failure
from frontend.stage import read_models
from frontend.tabs import App
from frontend.widgets.audition_card import HEIGHT as AUDITION_HEIGHT
from frontend.widgets.audition_card import AuditionCard
from frontend.widgets.model_list import ModelCard
from frontend.widgets.scroll_page import ScrollPage, put
from frontend.widgets.voice_list import ENGINES, VoiceCard, key_of

logger = logging.getLogger(__name__)

MARGIN = 16
GAP = 12
NARROW = 760
LEAST_VOICES = 230.0
PLAY_TIMEOUT_S = 60.0


class VoicesPage(tk.Frame):
    """Voices and models; it is handled as a tab is."""

    def __init__(self, master: tk.Misc, app: App) -> None:
        super().__init__(master, borderwidth=0, highlightthickness=0)
        self.app = app
        self.theme = t = app.theme
        self._characters: dict[str, Character] = {}
        self._character_id = ""
        self._sound_id = ""
        self._silence_job: str | None = None
        self._brought: tuple[str, str] | None = None
        """The voice that was just imported; it becomes the current one when the list has it."""
        t.tint(self, background="bg")
        self.page = ScrollPage(self, t, self._arrange)
        self.page.pack(fill="both", expand=True)
        body = self.page.body
        text = app.state.get("voice.text")
        self.voices = VoiceCard(
            body,
            t,
            choose=self._chosen,
            play=self._play_row,
            stop=self.stop,
            give=self._give,
            delete=self._delete,
            bring_in=self.choose_import,
            retry=self._load_voices,
        )
        self.audition = AuditionCard(
            body,
            t,
            play=self.play,
            stop=self.stop,
            give=self._give_current,
            text=text if isinstance(text, str) else "",
        )
        self.models = ModelCard(
            body,
            t,
            download=self._download,
            cancel=self._cancel,
            delete=self._delete_model,
            open_link=webbrowser.open,
            retry=self._load_models,
        )
        self.page.watch_wheel()
        self.bind("<Destroy>", self._ended)

    # --- what the window calls

    def on_event(self, event: Event) -> None:
        """Follow downloads, voices and characters."""
        match event:
            case DownloadProgress():
                self.models.went_on(event)
            case DownloadFinished():
                self._load_models()
            case ModelSaved() | ModelRemoved():
                self._load_models()
                self._load_voices()
            case CharacterSwitched() if event.conversation_id == STAGE:
                self._character_id = event.character_id
                self._load_characters()
            case CharacterChanged():
                self._load_characters()
            case PlaybackFinished() if event.turn_id and event.turn_id == self._sound_id:
                self._silent()

    def flush(self) -> None:
        """Cards draw themselves once before Tk goes idle."""

    def on_show(self) -> None:
        """The list has the keyboard."""
        self.voices.rows.focus_quietly()

    def on_hide(self) -> None:
        """Remember the text."""
        self.app.state["voice.text"] = self.audition.words()

    def on_theme(self) -> None:
        """Cards recolour themselves."""
        self.page.arrange_soon()

    def on_connected(self) -> None:
        """Load everything that is shown."""
        self._load_voices()
        self._load_models()
        self._load_stage()

    def panes(self) -> list[tk.Misc]:
        """Where F6 goes."""
        return [self.voices.search.entry, self.voices.rows, self.audition.text, self.models.rows]

    def find(self) -> None:
        """Put the keyboard into the search field."""
        self.voices.search.entry.focus_set()

    # --- layout

    def _arrange(self, width: float, height: float) -> float:
        t = self.theme
        room = width - 2 * MARGIN
        if width < NARROW:
            y = 12.0
            for card, high in (
                (self.voices, 320.0),
                (self.audition, AUDITION_HEIGHT),
                (self.models, 420.0),
            ):
                put(t, card, MARGIN, y, room, high)
                y += high + GAP
            return y
        left = round((room - GAP) * 0.54)
        voices = max(LEAST_VOICES, height - 12 - AUDITION_HEIGHT - 2 * GAP)
        total = 12 + voices + GAP + AUDITION_HEIGHT + GAP
        put(t, self.voices, MARGIN, 12, left, voices)
        put(t, self.audition, MARGIN, 12 + voices + GAP, left, AUDITION_HEIGHT)
        put(t, self.models, MARGIN + left + GAP, 12, room - left - GAP, total - 12 - GAP)
        return total

    # --- loading

    def _load_voices(self) -> None:
        def take(answer: Any) -> None:
            self.voices.show(read_models(VoiceInfo, answer))
            self._follow_voices()

        def fail(failure: Failure) -> None:
            self.voices.show(self.voices.voices, failure.message)

        self.app.backend.get("/api/voices", take, fail)

    def _follow_voices(self) -> None:
        """What was just brought in is the current voice; what is gone cannot be heard or given any more."""
        keys = [key_of(voice) for voice in self.voices.shown]
        if self._brought in keys:
            number = keys.index(self._brought)
            self.voices.rows.choose(number)
            self.voices.rows.reveal(number)
        self._brought = None
        heard = self.audition.voice
        if heard is not None and key_of(heard) not in map(key_of, self.voices.voices):
            self.audition.show(self.voices.current)

    def _load_models(self) -> None:
        def take(answer: Any) -> None:
            self.models.show(read_models(ModelInfo, answer))

        def fail(failure: Failure) -> None:
            self.models.show(self.models.models, failure.message)

        self.app.backend.get("/api/models", take, fail)

    def _load_stage(self) -> None:
        def take(answer: Any) -> None:
            if isinstance(answer, dict):
                self._character_id = str(answer.get("character_id") or "")
            self._load_characters()

        self.app.backend.get(f"/api/conversations/{STAGE}", take, self._quiet)

    def _load_characters(self) -> None:
        def take(answer: Any) -> None:
            self._characters = {one.id: one for one in read_models(Character, answer)}
            self._show_character()

        self.app.backend.get("/api/characters", take, self._quiet)

    def _show_character(self) -> None:
        character = self._characters.get(self._character_id)
        is_first = self.voices.character is None
        self.voices.character = self.audition.character = character
        if is_first and character is not None:
            self._choose_own(character)
        self.audition.follow_character()
        self.voices.changed()
        self.voices.rows.changed()
        self.audition.update_controls()

    def _choose_own(self, character: Character) -> None:
        """Begin at the voice the character has."""
        wanted = (character.voice.engine, character.voice.name)
        for number, voice in enumerate(self.voices.shown):
            if key_of(voice) == wanted:
                self.voices.rows.choose(number)
                self.voices.rows.reveal(number)

    @staticmethod
    def _quiet(failure: Failure) -> None:
        logger.debug("the character is not known: %s", failure.message)

    # --- hearing

    def _chosen(self, voice: VoiceInfo) -> None:
        self.audition.show(voice)

    def _play_row(self, voice: VoiceInfo) -> None:
        self.audition.show(voice)
        self.play()

    def play(self) -> None:
        """Say the text with the current voice, on the stage's output."""
        voice, words = self.audition.voice, self.audition.words()
        if voice is None or voice.problem:
            return
        if not words:
            self.audition.trouble = "Write what it should say first."
            self.audition.changed()
            return
        self.app.state["voice.text"] = words
        self._sound_id = ""
        self._playing(voice)
        body = {
            "text": words,
            "voice": self.audition.choice(voice).model_dump(mode="json"),
            "play": True,
        }
        self.app.backend.post(
            "/api/tts", body, lambda answer: self._spoken(voice, answer), self._not_spoken,
            timeout_s=PLAY_TIMEOUT_S,
        )  # fmt: skip

    def stop(self) -> None:
        """Stop what is heard."""
        self._silent()
        self.app.backend.post("/api/audio/stop", {}, None, self._quiet)

    def _playing(self, voice: VoiceInfo) -> None:
        self.voices.playing = key_of(voice)
        self.audition.is_playing = True
        self.audition.said = "Making the sound..."
        self.audition.trouble = ""
        self.voices.rows.changed()
        self.audition.update_controls()

    def _spoken(self, voice: VoiceInfo, answer: Any) -> None:
        if not isinstance(answer, dict) or self.voices.playing != key_of(voice):
            return
        seconds = float(answer.get("duration_s") or 0.0)
        engine = str(answer.get("engine") or "")
        self._sound_id = str(answer.get("url") or "").removeprefix("/api/audio/").partition("/")[0]
        self.audition.said = (
            f"{seconds:.1f} s by {ENGINES.get(engine, engine)} {answer.get('voice') or ''}"
        )
        if engine != voice.engine:
            name = ENGINES.get(voice.engine, voice.engine)
            self.audition.trouble = f"{name} could not speak; {ENGINES.get(engine, engine)} did instead. Status says why."
        self.audition.changed()
        # The end is told by an event; this is for an output that never tells, or none at all.
        if self._silence_job is not None:
            self.after_cancel(self._silence_job)
        self._silence_job = self.after(round(seconds * 1000) + 1_500, self._silent)

    def _not_spoken(self, failure: Failure) -> None:
        self._silent()
        self.audition.said = ""
        self.audition.trouble = failure.message
        self.audition.changed()

    def _silent(self) -> None:
        if self._silence_job is not None:
            self.after_cancel(self._silence_job)
            self._silence_job = None
        self._sound_id = ""
        self.voices.playing = None
        self.audition.is_playing = False
        self.voices.rows.changed()
        self.audition.update_controls()

    # --- who has which voice, and which are here

    def _give_current(self) -> None:
        if self.audition.voice is not None:
            self._give(self.audition.voice)

    def _give(self, voice: VoiceInfo) -> None:
        """Give a voice to the active character."""
        character = self._characters.get(self._character_id)
        if character is None:
            self.app.notify("There is no active character to give this voice to.", "warn")
            return
        choice = self.audition.choice(voice)
        fields = {
            "engine": choice.engine, "name": choice.name, "rate": choice.rate, "speaker": choice.speaker,
        }  # fmt: skip

        def done(answer: Any) -> None:
            for changed in read_models(Character, [answer]):
                self._characters[changed.id] = changed
            self._show_character()
            self.app.notify(f"{character.name} speaks with {voice.title} now.", "ok")

        self.app.backend.patch(
            f"/api/characters/{quote(character.id, safe='')}", {"voice": fields}, done, self._failed
        )

    def choose_import(self) -> None:
        """Ask for a Piper voice's files and bring it in."""
        chosen = filedialog.askopenfilename(
            parent=self, title="Import a Piper voice", filetypes=[("Piper voice", "*.onnx")]
        )
        if not chosen:
            return
        model = Path(chosen)
        settings = settings_beside(model)
        if settings is None:
            found = filedialog.askopenfilename(
                parent=self,
                title=f"Where is {model.name}.json, the settings of this voice?",
                initialdir=str(model.parent),
                filetypes=[("Settings of a Piper voice", "*.json")],
            )
            if not found:
                return
            settings = Path(found)
        self.bring_in(model, settings)

    def bring_in(self, model: Path, settings: Path) -> None:
        """Send a voice to the backend, which checks it before it counts."""
        self._busy(f"Checking {model.name}")

        def done(answer: Any) -> None:
            self._busy("")
            for voice in read_models(VoiceInfo, [answer]):
                self.app.notify(f"{voice.title} is ready to use.", "ok")
                self.voices.search.set("")
                self._brought = key_of(voice)
            self._load_voices()

        def failed(failure: Failure) -> None:
            self._busy("")
            self._failed(failure)

        files = [("model", model), ("settings", settings)]
        self.app.backend.upload("/api/voices/import", files, {"name": ""}, done, failed)

    def _busy(self, words: str) -> None:
        self.voices.busy = words
        self.voices.importing.enable(not words)
        self.voices.changed()

    def _delete(self, voice: VoiceInfo) -> None:
        def done(_: Any) -> None:
            self.app.notify(f"{voice.title} was deleted.", "ok")
            self._load_voices()
            self._load_models()

        path = f"/api/voices/{quote(voice.name, safe='')}"
        self.app.backend.delete(path, None, done, self._failed)

    # --- models

    def _download(self, model_id: str) -> None:
        self._ask_model("POST", model_id, "/download")

    def _cancel(self, model_id: str) -> None:
        self._ask_model("POST", model_id, "/cancel")

    def _delete_model(self, model_id: str) -> None:
        self._ask_model("DELETE", model_id, "")

    def _ask_model(self, method: str, model_id: str, what: str) -> None:
        def done(answer: Any) -> None:
            for model in read_models(ModelInfo, [answer]):
                self.models.change(model)

        def failed(failure: Failure) -> None:
            self._failed(failure)
            self._load_models()

        path = f"/api/models/{quote(model_id, safe='')}{what}"
        if method == "DELETE":
            self.app.backend.delete(path, None, done, failed)
        else:
            self.app.backend.post(path, {}, done, failed)

    def _failed(self, failure: Failure) -> None:
        self.app.notify(failure.message, "error")

    def _ended(self, event: Any) -> None:
        if event.widget is self and self._silence_job is not None:
            self.after_cancel(self._silence_job)


def settings_beside(model: Path) -> Path | None:
    """The settings file that came with a voice, where it lies beside it."""
    for candidate in (model.with_name(model.name + ".json"), model.with_suffix(".json")):
        if candidate.is_file():
            return candidate
    return None
