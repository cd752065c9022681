"""The Chat tab: what is said, as it is written and heard; what each turn cost; voice and face of who is on."""

from __future__ import annotations

import logging
import re
import tkinter as tk
from collections import OrderedDict, deque
from datetime import datetime
from functools import partial
from pathlib import Path
from tkinter import filedialog
from typing import Any, ClassVar, Literal, Protocol

from backend.contracts.entities import STAGE, Character, Span, Turn
from backend.contracts.events import (
    CharacterSwitched,
    ChatDelta,
    ChatDisposition,
    ChatMessage,
    ChatNotice,
    ChatResponse,
    ChatSentence,
    ConversationChanged,
    ErrorOccurred,
    Event,
    PlaybackFinished,
    PlaybackPosition,
    PlaybackStarted,
    SpeechReady,
    TurnFinished,
    TurnRetried,
    TurnStage,
    TurnStarted,
)
from frontend.client import Failure
from frontend.microphone import Microphone, Utterance, reader_of, setting_of
from frontend.stage import SILENCE_DB, read_model, read_models
from frontend.tabs import CastApp
from frontend.widgets.composer import Composer
from frontend.widgets.controls import Button, Words, picture_label
from frontend.widgets.conversation import Action, ConversationView, Message
from frontend.widgets.inspector import WIDTH as INSPECTOR_WIDTH
from frontend.widgets.inspector import Inspector
from frontend.widgets.popup import Choice, Picker
from frontend.widgets.reply_text import shown_draft
from frontend.widgets.turn_panel import TurnView, compare

logger = logging.getLogger(__name__)

PAGE = 60
WIDE = 1120  # design pixels of the window; below, the inspector lies over the messages
RECENT_TURNS = 60
AUDIO_TYPES = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus", ".aiff", ".aif", ".webm")
LONGEST_TRANSCRIPTION_S = 600.0
SUGGESTIONS = (
    "Hello! Who are you?",
    "Tell me something that made you laugh.",
    "What do you want to talk about on stream?",
)
HEARD_HINT = "bright words were heard, dim words are still to come"
WAITS = (
    "She is not done yet: your message waits its turn. Esc stops her, then it is answered at once."
)
STRIPS_LOOKED_AT = 20
LIVE_AFTER_MS = 600  # speech without words yet: longer than a cough
_WHAT_NEXT = re.compile(r" \((?:trying again|[^()]* takes over)\)$")
LIVE = {"speaking": "speaking", "reading": "being read", "read": "read"}


class ChatApp(CastApp, Protocol):
    """What the Chat tab needs of the window beyond what every tab may use."""

    @property
    def microphone(self) -> Microphone:
        """What is heard."""

    def open_sound(self) -> None:
        """Open the window of microphone and loudspeaker."""


class ChatTab(tk.Frame):
    """Messages at the left, the chosen turn at the right, the composer below."""

    NAME: ClassVar[str] = "chat"
    TITLE: ClassVar[str] = "Chat"
    ICON: ClassVar[str] = "chat"

    def __init__(self, master: tk.Misc, app: ChatApp) -> None:
        super().__init__(master)
        self.app = app
        self._stage = app.stage
        theme = self._theme = app.theme
        theme.tint(self, background="bg")
        self._turns: OrderedDict[str, TurnView] = OrderedDict()
        self._numbers: dict[str, int] = {}
        self._recent: deque[tuple[str, float | None, tuple[Span, ...]]] = deque(maxlen=RECENT_TURNS)
        self._chosen = ""
        self._follows = True
        self._oldest = ""
        self._has_older = True
        self._loading = False
        self._loaded = False
        self._level = SILENCE_DB
        self._sent: list[str] = []
        self._overlay: bool | None = None
        self._wanted = bool(app.state.get("chat.inspector", True))
        self._overlaid = False
        self._reset = True
        self._live_jobs: dict[str, str] = {}
        self._shown_drops = 0
        self.inspector = Inspector(
            self,
            theme,
            app.stage,
            change_voice=lambda: app.show_tab("voice"),
            open_sound=app.open_sound,
            open_setting=self._open_setting,
            open_avatar=lambda: app.show_tab("stage"),
        )
        self._left = tk.Frame(self)
        theme.tint(self._left, background="bg")
        self._left.place(x=0, y=0, relheight=1.0)
        self.composer = Composer(
            self._left,
            theme,
            app.microphone,
            send=self._send,
            stop=self._stop,
            attach=self.attach,
            show_dropped=self._show_drops,
        )
        self.composer.pack(side="bottom", fill="x")
        self._deaf: tk.Frame | None = None
        self.view = ConversationView(
            self._left,
            theme,
            app.avatars,
            act=self._act,
            choose=self._choose,
            want_older=self._load_older,
        )
        self.view.pack(fill="both", expand=True)
        self._empty: tk.Frame | None = None
        self._panel_button = Button(
            self._left,
            theme,
            icon="panel",
            kind="plain",
            height=28,
            icon_size=17,
            label="Turn details",
            tip="Show or hide the turn's details   Ctrl+I",
            command=self.toggle_inspector,
        )
        self._panel_button.place(relx=1.0, x=-theme.px(16), y=theme.px(4), anchor="ne")
        self._ends = [
            app.stage.listen(("answering",), self._show_running),
            app.stage.listen(("characters", "character"), self._show_character),
            app.stage.listen(("provider",), self._show_deaf),
            app.microphone.listen(("listening",), self._show_deaf),
            app.microphone.listen(("live",), self._show_live),
            app.microphone.listen(("dropped",), self._show_dropped),
            app.microphone.listen(("ducked",), self._show_ducked),
        ]
        self.bind("<Configure>", lambda _: self._arrange())
        self.bind("<Destroy>", self._gone, add="+")
        self._show_character()
        self._show_running()
        self._show_deaf()
        self._shown_drops = app.microphone.dropped
        self.composer.count_dropped(app.microphone.dropped)
        self.after_idle(self._accept_files)

    # --- the window calls these -----------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Take what belongs to the stage."""
        if getattr(event, "conversation_id", STAGE) not in (STAGE, ""):
            return
        turn_id = event.turn_id or ""
        match event:
            case ChatMessage():
                origin = event.origin
                note = self.app.microphone.taken_note(event.text)
                if note:
                    origin += f"  \u00b7  {note}"
                self._user(turn_id, event.author, event.at, event.text, origin)
                if event.origin == "window" and self._stage.answering - {turn_id}:
                    self.composer.say_quietly(WAITS)
            case TurnStarted():
                self._numbers[turn_id] = event.number
                message = self._reply(turn_id, event.at, event.character_id)
                message.state = "Thinking"
                self.view.touch(message.key)
                view = TurnView(
                    f"Turn {event.number}", at=event.at.astimezone(), origin=event.origin
                )
                self._keep_turn(turn_id, view)
                if self._follows:
                    self._choose_turn(turn_id)
            case ChatDelta() if turn_id:
                message = self._reply(turn_id, event.at)
                if not message.reply.ended:
                    message.reply.add_delta(event.text)
                    message.state = message.state or "Writing"
                    self._state(message, "Writing", over=("Thinking",))
            case ChatSentence() if turn_id:
                message = self._reply(turn_id, event.at, event.character_id)
                if not message.reply.ended and message.reply.add_sentence(event.n, event.text):
                    self._emotion(message, event.emotion)
                    self._state(message, "Writing", over=("Thinking",))
            case ChatResponse() if turn_id:
                message = self._reply(turn_id, event.at, event.character_id)
                self._emotion(message, event.emotion)
                if message.reply.ended and message.reply.text != event.text:
                    message.reply.replace(event.text)
                self.view.touch(message.key)
            case SpeechReady() if turn_id:
                self._reply(turn_id, event.at).has_sound = True
                self.inspector.show_spoken(event.engine, event.voice)
            # What belongs to no reply, a test of the loudspeaker, is no message.
            case PlaybackStarted() if turn_id and f"r:{turn_id}" in self.view.messages:
                message = self._reply(turn_id, event.at)
                if not message.reply.ended:
                    message.reply.play(event.n)
                    message.state = self._speaking(event.n) if event.sink != "none" else "Writing"
                else:
                    message.state = "Playing again"
                self.view.touch(message.key)
            case PlaybackPosition() if turn_id and f"r:{turn_id}" in self.view.messages:
                message = self._reply(turn_id, event.at)
                message.reply.move(event.n, event.position_s, event.duration_s)
                self._level = event.level_dbfs
                self.view.touch(message.key)
            case PlaybackFinished() if turn_id and f"r:{turn_id}" in self.view.messages:
                message = self._reply(turn_id, event.at)
                if not message.reply.ended:
                    message.reply.end(interrupted=event.interrupted)
                else:
                    message.state = ""
                self._level = SILENCE_DB
                self.view.touch(message.key)
            case TurnStage() if turn_id:
                known = self._turns.get(turn_id)
                if known is not None and not known.outcome:
                    self._keep_turn(
                        turn_id, _with(known, spans=(*known.spans, event.span), outcome="")
                    )
            case TurnRetried() if turn_id:
                self._strip(turn_id, f"{event.sentence()}. Not spoken.", event.id)
            case ErrorOccurred() if turn_id:
                self._strip(turn_id, f"{event.reason} Not spoken.", event.id)
            case ChatDisposition() if event.disposition in ("filtered", "queue-full", "too-old"):
                self._strip(turn_id, f"Not answered: {event.reason or event.disposition}", event.id)
            case ChatNotice():
                self._hide_empty()
                self.view.add(Message(f"notice:{event.id}", "", "note", text=event.text))
            case TurnFinished() if turn_id:
                self._finished(event)
            case CharacterSwitched():
                self._note(f"switch:{event.id}", f"{event.name} is on")
            case ConversationChanged() if (
                event.change == "cleared" and event.conversation_id == STAGE
            ):
                self._forget()

    def flush(self) -> None:
        """Draw what changed."""
        if self._level > SILENCE_DB:
            self.view.pulse(min(1.0, max(0.0, 1 - self._level / SILENCE_DB)))
        self.view.flush()
        if self._chosen:
            self._show_turn()

    def on_show(self) -> None:
        """The composer gets the focus: talking is what the tab is for."""
        self.composer.text.focus_set()

    def on_hide(self) -> None:
        """Nothing is kept running for a tab that is not seen."""

    def on_theme(self) -> None:
        """The messages hold pictures in the old colours."""
        self.view.rebuild()

    def on_connected(self) -> None:
        """Load what was said; turns that still run stay."""
        self._loading = True
        path = f"/api/conversations/{STAGE}/history"
        self.app.backend.get(path, self._took_history, self._not_loaded, params={"limit": PAGE})

    def panes(self) -> list[tk.Misc]:
        """Where F6 goes."""
        return [self.view.text, self.composer.text]

    # --- what commands do -----------------------------------------------------------------------------------------

    def open_turn(self, turn_id: str) -> None:
        """Show a turn in the inspector, loading it if it is not here."""
        self._follows = False
        self._show_inspector(True)
        if turn_id in self._turns:
            self._choose_turn(turn_id)
            self.view.see(f"r:{turn_id}")
            return
        self.app.backend.get(
            f"/api/turns/{turn_id}", partial(self._took_turn, turn_id), self.app.fail
        )

    def focus_composer(self) -> None:
        """Write a message."""
        self.composer.text.focus_set()

    def toggle_inspector(self) -> None:
        """Show or hide the panel at the right."""
        if self._overlay:
            self._overlaid = not self._overlaid
        else:
            self._wanted = not self._wanted
            self.app.state["chat.inspector"] = self._wanted
        self._arrange(force=True)

    def attach(self) -> None:
        """Ask for an audio file and put its words into the composer."""
        patterns = " ".join(f"*{ending}" for ending in AUDIO_TYPES)
        name = filedialog.askopenfilename(
            parent=self,
            title="Audio file to transcribe",
            filetypes=[("Audio", patterns), ("All files", "*")],
        )
        if name:
            self.transcribe(Path(name))

    def transcribe(self, file: Path) -> None:
        """Read an audio file; its words go into the composer."""
        self.composer.show_work(f"Reading {file.name}...")
        self.app.backend.upload(
            "/api/stt",
            [("file", file)],
            None,
            self._transcribed,
            self._not_transcribed,
            timeout_s=LONGEST_TRANSCRIPTION_S,
        )

    def clear(self) -> None:
        """Forget what was said; stored turns can still be opened in Status."""
        self.app.backend.post(f"/api/conversations/{STAGE}/clear", None, None, self.app.fail)

    # --- messages -------------------------------------------------------------------------------------------------

    def _user(self, turn_id: str, author: str, at: datetime, text: str, origin: str) -> None:
        name = "You" if author == "you" else author
        self._hide_empty()
        self.view.add(Message(f"u:{turn_id}", turn_id, "user", name, at.astimezone(), text, origin))

    def _reply(self, turn_id: str, at: datetime, character_id: str = "") -> Message:
        key = f"r:{turn_id}"
        found = self.view.messages.get(key)
        if found is not None:
            return found
        self._hide_empty()
        who = character_id or self._stage.character_id
        message = Message(
            key, turn_id, "reply", self._name_of(who), at.astimezone(), character_id=who
        )
        self.view.add(message)
        return message

    def _name_of(self, character_id: str) -> str:
        for character in self._stage.characters:
            if character.id == character_id:
                return character.name
        return character_id.replace("-", " ").title() or "Character"

    def _emotion(self, message: Message, emotion: str) -> None:
        if emotion and emotion != "neutral" and not message.emotion:
            message.emotion = emotion
        self.view.touch(message.key)

    def _state(self, message: Message, state: str, over: tuple[str, ...]) -> None:
        if message.state in over:
            message.state = state
        self.view.touch(message.key)

    def _strip(self, turn_id: str, text: str, event_id: str) -> None:
        """Say what went wrong; the same reason said again within a turn takes the place of the first."""
        self._hide_empty()
        reason = _reason_of(text)
        for key, message in list(self.view.messages.items())[-STRIPS_LOOKED_AT:]:
            if message.kind == "strip" and message.turn_id == turn_id:
                if _reason_of(message.text) == reason:
                    self.view.remove(key)
        self.view.add(Message(f"s:{event_id}", turn_id, "strip", text=text))

    def _note(self, key: str, text: str) -> None:
        if self.view.messages:
            self.view.add(Message(key, "", "note", text=text))

    # --- what is being said ---------------------------------------------------------------------------------------

    def _show_live(self) -> None:
        """Utterances as messages being spoken: at their first words, or after a moment, so a cough shows nothing."""
        live = self.app.microphone.live
        for key in [key for key, message in self.view.messages.items() if message.live]:
            if key.removeprefix("live:") not in live:
                self.view.remove(key)
        for name in [name for name in self._live_jobs if name not in live]:
            self.after_cancel(self._live_jobs.pop(name))
        for utterance in live.values():
            key = f"live:{utterance.id}"
            message = self.view.messages.get(key)
            if message is not None:
                message.text, message.live = _spoken_words(utterance), LIVE[utterance.phase]
                self.view.touch(key)
            elif utterance.text or utterance.phase != "speaking":
                self._add_live(utterance.id)
            elif utterance.id not in self._live_jobs:
                job = self.after(LIVE_AFTER_MS, self._add_live, utterance.id)
                self._live_jobs[utterance.id] = job

    def _add_live(self, name: str) -> None:
        job = self._live_jobs.pop(name, None)
        if job is not None:
            self.after_cancel(job)
        utterance = self.app.microphone.live.get(name)
        if utterance is None or f"live:{name}" in self.view.messages:
            return
        self._hide_empty()
        message = Message(f"live:{name}", "", "user", "You", utterance.at)
        message.text, message.live = _spoken_words(utterance), LIVE[utterance.phase]
        self.view.add(message)

    def _show_dropped(self) -> None:
        microphone = self.app.microphone
        if microphone.dropped > self._shown_drops and microphone.drops:
            self.composer.say_quietly(microphone.drops[-1].words)
        self._shown_drops = microphone.dropped
        self.composer.count_dropped(microphone.dropped)
        if not self.view.messages:
            self._show_empty()

    def _show_drops(self, owner: tk.Misc) -> None:
        """What was not taken, newest first; Enter opens the setting that decided."""
        drops = list(self.app.microphone.drops)[::-1]
        choices = [Choice("#", "Said and not taken, newest first", heading=True)]
        choices += [
            Choice(
                one.setting or f"#{number}",
                one.words.removeprefix("Not taken: "),
                f"{one.at:%H:%M:%S}" + (f"  \u00b7  open {one.setting}" if one.setting else ""),
                "gear" if one.setting else "info",
            )
            for number, one in enumerate(drops)
        ]
        Picker(owner, self._theme, choices, self._chose_drop, width=460)
        self.app.microphone.seen_drops()

    def _chose_drop(self, name: str) -> None:
        if not name.startswith("#"):
            self.app.open_settings(name)

    def _speaking(self, n: int) -> str:
        if self.app.microphone.is_ducked:
            return f"Quieter while you speak  \u00b7  sentence {n}"
        return f"Speaking sentence {n}  \u00b7  {HEARD_HINT}"

    def _show_ducked(self) -> None:
        """She was made quieter, or loud again: said beside what she speaks."""
        for message in self.view.messages.values():
            if message.kind == "reply" and message.state.startswith(("Speaking", "Quieter")):
                message.state = self._speaking(message.reply.speaking)
                self.view.touch(message.key)
        self.view.flush()

    def _open_setting(self, detail: str) -> None:
        name = setting_of(detail, self._stage.settings)
        if name:
            self.app.open_settings(name)

    def _finished(self, event: TurnFinished) -> None:
        turn_id = event.turn_id or ""
        message = self._reply(turn_id, event.at, event.character_id)
        message.state = ""
        message.outcome = event.outcome
        message.spans = event.spans
        message.first_audio_ms = event.first_audio_ms
        message.total_ms = event.total_ms
        if not message.reply.ended:
            message.reply.end(interrupted=event.outcome == "interrupted")
        self.view.touch(message.key)
        known = self._turns.get(turn_id) or TurnView(f"Turn {event.number}")
        self._keep_turn(
            turn_id,
            _with(
                known,
                outcome=event.outcome,
                spans=event.spans,
                words=len(message.words.split()),
                first_audio_ms=event.first_audio_ms,
                total_ms=event.total_ms,
            ),
        )
        self._recent.append((turn_id, event.first_audio_ms, event.spans))

    def _keep_turn(self, turn_id: str, view: TurnView) -> None:
        self._turns[turn_id] = view
        while len(self._turns) > 1000:
            self._turns.popitem(last=False)

    def _forget(self) -> None:
        self.view.clear()
        self._has_older = False
        self._oldest = ""
        self._chosen = ""
        self.inspector.show_turn(None, compare(TurnView(""), ()))
        self._show_empty()

    # --- loading --------------------------------------------------------------------------------------------------

    def _took_history(self, value: Any) -> None:
        self._loading = False
        self._loaded = True
        turns = read_models(Turn, value, "turns", "items")
        running = [
            message
            for message in self.view.messages.values()
            if (
                message.turn_id
                and message.turn_id not in {turn.id for turn in turns}
                and (message.state or f"r:{message.turn_id}" not in self.view.messages)
            )
            or message.live
        ]
        messages: list[Message] = []
        for turn in turns:
            messages += self._messages_of(turn)
            self._recent.append((turn.id, turn.first_audio_ms, turn.spans))
        self._oldest = turns[0].id if turns else ""
        self._has_older = len(turns) >= PAGE
        self.view.show_all(_with_days(messages) + running)
        said = [turn.message for turn in turns if turn.source in ("window", "api", "ws")]
        self.composer.remember(list(dict.fromkeys([*said, *self._sent]))[-100:])
        if self.view.messages:
            self._hide_empty()
            if turns and (self._follows or self._chosen not in self._turns):
                self._choose_turn(turns[-1].id)
        else:
            self._show_empty()

    def _load_older(self) -> None:
        if self._loading or not self._has_older or not self._oldest or not self._loaded:
            return
        self._loading = True
        self.app.backend.get(
            f"/api/conversations/{STAGE}/history",
            self._took_older,
            self._not_loaded,
            params={"limit": PAGE, "before": self._oldest},
        )

    def _took_older(self, value: Any) -> None:
        self._loading = False
        turns = read_models(Turn, value, "turns", "items")
        self._has_older = len(turns) >= PAGE
        if turns:
            self._oldest = turns[0].id
            messages: list[Message] = []
            for turn in turns:
                messages += self._messages_of(turn)
            self.view.add_older(_with_days(messages))

    def _not_loaded(self, failure: Failure) -> None:
        self._loading = False
        self.app.fail(failure)

    def _messages_of(self, turn: Turn) -> list[Message]:
        at = turn.started_at.astimezone()
        name = "You" if turn.author == "you" else turn.author
        messages: list[Message] = []
        if turn.message:  # else she was given words to say
            said = Message(f"u:{turn.id}", turn.id, "user", name, at, turn.message, turn.source)
            messages.append(said)
        reply = Message(
            f"r:{turn.id}",
            turn.id,
            "reply",
            self._name_of(turn.character_id),
            at,
            character_id=turn.character_id,
            emotion=turn.emotion if turn.emotion != "neutral" else "",
            spans=turn.spans,
            first_audio_ms=turn.first_audio_ms,
            total_ms=turn.total_ms,
            outcome=turn.outcome,
            has_sound=any(sentence.url for sentence in turn.sentences),
        )
        reply.reply.replace(turn.reply)
        messages.append(reply)
        if turn.error:
            text = f"{turn.error} Not spoken."
            messages.append(Message(f"s:{turn.id}", turn.id, "strip", text=text))
        self._keep_turn(turn.id, _view_of(turn))
        return messages

    def _took_turn(self, turn_id: str, value: Any) -> None:
        turn = read_model(Turn, value)
        if turn is not None:
            self._keep_turn(turn_id, _view_of(turn))
            self._choose_turn(turn_id)

    # --- the turn at the right ------------------------------------------------------------------------------------

    def _choose(self, message: Message) -> None:
        self._follows = False
        if message.turn_id in self._turns:
            self._choose_turn(message.turn_id, message.key)

    def _choose_turn(self, turn_id: str, key: str = "") -> None:
        self._chosen = turn_id
        newest = next(reversed(self._turns), "")
        self._follows = turn_id == newest
        self.view.select(key or f"r:{turn_id}")
        self._show_turn()

    def _show_turn(self) -> None:
        view = self._turns.get(self._chosen)
        if view is not None:
            others = [(first, spans) for name, first, spans in self._recent if name != self._chosen]
            self.inspector.show_turn(view, compare(view, others))

    # --- actions --------------------------------------------------------------------------------------------------

    def _send(self, text: str) -> bool:
        if self.app.backend.connection.state != "connected":
            self.app.notify("Not connected to the backend: the message was kept.", "warn")
            return False
        self._follows = True
        self._sent.append(text)
        del self._sent[:-100]
        body = {"message": text, "conversation_id": STAGE, "origin": "window"}
        self.app.backend.command("chat", body, None, partial(self._not_sent, text))
        self.view.to_end()
        return True

    def _not_sent(self, text: str, failure: Failure) -> None:
        """Nothing that was written gets lost."""
        if not self.composer.words.strip():
            self.composer.put(text)
        self.app.notify(f"Not sent: {failure.message}", "error")

    def _stop(self) -> None:
        self._stage.interrupt()

    def _act(self, action: Action, message: Message) -> None:
        match action:
            case "copy":
                self.clipboard_clear()
                self.clipboard_append(message.words)
                self.app.notify("Copied.", "ok")
            case "open":
                if message.turn_id:
                    self.open_turn(message.turn_id)
            case "play":
                path = f"/api/turns/{message.turn_id}/play"
                self.app.backend.post(path, None, None, self.app.fail)
            case "stop":
                self._stop()

    def _transcribed(self, value: Any) -> None:
        self.composer.show_work("")
        text = str(value.get("text", "")).strip() if isinstance(value, dict) else ""
        if text:
            self.composer.add(text)
            self.composer.text.focus_set()
        else:
            self.app.notify("Nobody speaks in this file.", "warn")

    def _not_transcribed(self, failure: Failure) -> None:
        self.composer.show_work("")
        self.app.notify(failure.message, "error")

    # --- looks ----------------------------------------------------------------------------------------------------

    def _arrange(self, force: bool = False) -> None:
        """Beside each other where there is room, else the inspector over the messages."""
        width, high = self.winfo_width(), self.winfo_height()
        if width <= 1:
            return
        px = self._theme.px
        overlay = width + px(72) < px(WIDE)
        if overlay != self._overlay:
            self._overlay = overlay
            self._overlaid = False
        side = px(INSPECTOR_WIDTH)
        shown = self._overlaid if overlay else self._wanted
        left = width if overlay or not shown else width - side
        self._left.place(x=0, y=0, width=left, height=high, relheight="")
        if shown:
            self.inspector.place(x=width - side, y=0, width=side, height=high)
            tk.Misc.tkraise(self.inspector)
        else:
            self.inspector.place_forget()
        self._panel_button.place(x=-px(10) - (side if overlay and shown else 0))

    def _show_inspector(self, shown: bool) -> None:
        if self._overlay:
            self._overlaid = shown
        else:
            self._wanted = shown
        self._arrange(force=True)

    def _show_running(self) -> None:
        self.composer.show_stop(bool(self._stage.answering))

    def _show_deaf(self) -> None:
        """A strip that stays over the composer while the microphone is on and nothing can read what it hears."""
        microphone, stage = self.app.microphone, self._stage
        reader = reader_of(stage.settings, stage.services)
        is_deaf = microphone.is_known and microphone.now.mode != "off" and reader.is_deaf
        if not is_deaf:
            if self._deaf is not None:
                self._deaf.destroy()
                self._deaf = None
            return
        if self._deaf is not None:
            return
        theme, px = self._theme, self._theme.px
        strip = self._deaf = tk.Frame(self._left)
        theme.tint(strip, background="warn_soft")
        picture_label(strip, theme, "warn", 16, "warn", "warn_soft").pack(
            side="left", padx=(px(14), px(8)), pady=px(6)
        )
        Button(
            strip,
            theme,
            "Mend",
            self.app.open_sound,
            kind="ghost",
            surface="warn_soft",
            height=26,
            tip="Microphone and sound: who reads what you say",
        ).pack(side="right", padx=px(6), pady=px(3))
        Words(strip, theme, reader.words, "small", "text", "warn_soft").pack(
            side="left", fill="x", expand=True
        )
        strip.pack(side="bottom", fill="x", padx=px(24), after=self.composer)

    def _show_character(self) -> None:
        character = self._stage.character
        if character is None:
            return
        self.composer.set_placeholder(f"Write to {character.name.split()[0][:40]}")
        for message in self.view.messages.values():
            if message.kind == "reply" and message.author != self._name_of(message.character_id):
                message.author = self._name_of(message.character_id)
        if self._empty is not None:
            self._hide_empty()
            self._show_empty()

    def _show_empty(self) -> None:
        """Who is here, and what one could say."""
        if self._empty is not None or self.view.messages:
            return
        theme, character = self._theme, self._stage.character
        px = theme.px
        box = self._empty = tk.Frame(self.view)
        theme.tint(box, background="bg")
        self._draw_greeting(box, character)
        for words in SUGGESTIONS:
            Button(box, theme, words, partial(self._suggest, words), icon="chat", height=32).pack(
                pady=(0, px(2))
            )
        box.place(relx=0.5, rely=0.46, anchor="center")

    def _draw_greeting(self, box: tk.Frame, character: Character | None) -> None:
        theme = self._theme
        px = theme.px
        if character is None:
            picture_label(box, theme, "chat", 24, "text3", "bg").pack()
            title, greeting = (
                "Nobody is here yet",
                "The characters appear once the backend answers.",
            )
        else:
            face = tk.Label(box, borderwidth=0)
            theme.tint(face, background="bg")
            picture = self.app.avatars.picture(character.id, "neutral", 96)
            face.configure(image=picture)
            face.image = picture  # type: ignore[attr-defined]  # Tk forgets pictures nobody holds
            face.pack()
            title = character.name
            greeting = character.greeting or f"Say hello to {character.name}."
        greeting = shown_draft(greeting).replace("{{user}}", "you").replace("{{char}}", title)
        words = tk.Label(box, text=title[:60], font=theme.font("h1"), borderwidth=0)
        theme.tint(words, background="bg", foreground="text")
        words.pack(pady=(px(12), px(4)))
        more = tk.Label(
            box,
            text=" ".join(greeting.split())[:400],
            font=theme.font("body"),
            wraplength=px(440),
            justify="center",
            borderwidth=0,
        )
        theme.tint(more, background="bg", foreground="text2")
        more.pack(pady=(0, px(16)))

    def _hide_empty(self) -> None:
        if self._empty is not None:
            self._empty.destroy()
            self._empty = None

    def _suggest(self, words: str) -> None:
        self._send(words)

    def _gone(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self:
            for end in self._ends:
                end()
            for job in self._live_jobs.values():
                self.after_cancel(job)

    # --- files dropped on the tab ---------------------------------------------------------------------------------

    def _accept_files(self) -> None:
        """Take audio files that are dropped here, where tkinterdnd2 loads."""
        try:
            from tkinterdnd2 import DND_FILES, TkinterDnD

            if not hasattr(self.app, "drop_ready"):
                TkinterDnD._require(self.winfo_toplevel())
            self.tk.call("tkdnd::drop_target", "register", str(self), DND_FILES)
        except Exception as error:  # noqa: BLE001 - a platform without it loses only dropping
            logger.info("files cannot be dropped here: %s", error)
            return
        self._on_drop("<<DropEnter>>", lambda _: self.composer.show_drop(True))
        self._on_drop("<<DropLeave>>", lambda _: self.composer.show_drop(False))
        self._on_drop("<<Drop>>", self._dropped)

    def _on_drop(
        self,
        sequence: Literal["<<DropEnter>>", "<<DropLeave>>", "<<Drop>>"],
        run: Any,
    ) -> None:
        def called(data: str) -> str:
            run(data)
            return "copy"

        self.tk.call("bind", str(self), sequence, f"{self.register(called)} %D")

    def _dropped(self, data: str) -> None:
        self.composer.show_drop(False)
        files = [Path(name) for name in self.tk.splitlist(data)]
        sounds = [file for file in files if file.suffix.casefold() in AUDIO_TYPES]
        if not sounds:
            names = ", ".join(file.name for file in files)[:200] or "Nothing"
            self.app.notify(f"{names} is no audio file.", "warn")
        for file in sounds[:1]:
            self.transcribe(file)


def _reason_of(strip: str) -> str:
    """What went wrong, without what was done about it."""
    return _WHAT_NEXT.sub("", strip.removesuffix("Not spoken.").strip(". ")).strip(". ")


def _spoken_words(utterance: Utterance) -> str:
    """What is shown of something being said; dots while there are no words."""
    is_over = utterance.phase != "speaking" and utterance.text
    return utterance.text if is_over else f"{utterance.text} ...".strip()


def _view_of(turn: Turn) -> TurnView:
    return TurnView(
        title=f"Turn {turn.number}",
        outcome=turn.outcome,
        at=turn.started_at.astimezone(),
        origin=turn.source,
        words=len(turn.reply.split()),
        spans=turn.spans,
        first_audio_ms=turn.first_audio_ms,
        total_ms=turn.total_ms,
        error=turn.error,
    )


def _with(view: TurnView, **changes: Any) -> TurnView:
    from dataclasses import replace

    return replace(view, **changes)


def _with_days(messages: list[Message]) -> list[Message]:
    """A line with the date before the first message of each day that is not today."""
    out: list[Message] = []
    last = None
    today = datetime.now().astimezone().date()
    for message in messages:
        day = message.at.date() if message.at is not None else None
        if day is not None and day != last:
            last = day
            words = "Today" if day == today else f"{day:%A, %d %B %Y}"
            out.append(Message(f"day:{day}:{message.turn_id}", "", "note", text=words))
        out.append(message)
    return out
