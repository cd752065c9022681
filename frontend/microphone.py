"""What the window knows of the microphone: how it is, how loud, what is being said, and the requests that change it.

Header, composer, conversation and the sound window show the same facts. Requests go one after the other, so that a key
that is pressed and let go at once never arrives the wrong way round; what is asked meanwhile is sent together.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from backend.contracts.entities import STAGE, ServiceInfo
from backend.contracts.events import (
    ChatMessage,
    Event,
    ListeningChanged,
    ListeningLevel,
    PlaybackDucked,
    PlaybackFinished,
    UtteranceDropped,
    UtteranceEnded,
    UtterancePartial,
    UtteranceStarted,
    UtteranceTranscribed,
)
from backend.contracts.listening import (
    DropReason,
    EchoGuard,
    InputDeviceInfo,
    ListeningMode,
    ListeningState,
)
from backend.contracts.settings import SettingInfo
from frontend.client import BackendClient, Failure
from frontend.stage import SILENCE_DB, read_model, read_models

logger = logging.getLogger(__name__)

LOWEST_GAIN_DB, HIGHEST_GAIN_DB = -30.0, 40.0
KEPT_DROPS = 20
KEPT_UTTERANCES = 8
TEST_S = 5.0
TEST_TIMEOUT_S = 40.0  # five seconds of recording, and as long to hear them, on a busy machine
TALK_KEY = "F8"
MUTE_KEY = "Ctrl+Shift+M"

MicTopic = Literal["listening", "level", "inputs", "live", "dropped", "ducked"]
Phase = Literal["speaking", "reading", "read"]

MODE_TITLES: Mapping[ListeningMode, str] = {
    "off": "Off",
    "push_to_talk": "Push to talk",
    "open": "Open microphone",
}
GUARD_WORDS: Mapping[EchoGuard, tuple[str, str]] = {
    "guard": (
        "Tell my voice from hers",
        "For loudspeakers: what comes from them does not count, your voice does, so you can interrupt her.",
    ),
    "strict": (
        "Do not listen while she speaks",
        "For loud rooms: nothing counts until she has finished. Esc still interrupts her.",
    ),
    "headphones": (
        "Listen to everything",
        "For headphones only: over loudspeakers she would hear herself and answer.",
    ),
}
DROP_WORDS: Mapping[DropReason, str] = {
    "too_short": "too short",
    "no_words": "no words in it",
    "repetition": "the recogniser repeated itself",
    "phantom": "words that a recogniser makes up in silence",
    "echo": "it was her own voice",
    "muted": "the microphone is muted",
    "recogniser": "the recogniser failed",
    "cancelled": "taken back",
}
READERS = {
    "faster_whisper": "Whisper (faster-whisper)",
    "whisper": "Whisper",
    "openai_compatible": "a server",
    "sphinx": "Sphinx",
    "script": "a script, for tests",
}
CHOSEN_BY = {
    "faster_whisper": "WHISPER_MODEL",
    "whisper": "WHISPER_MODEL",
    "openai_compatible": "STT_OPENAI_MODEL",
    "sphinx": "STT_CHAIN",
}
"""The setting to look at when a recogniser was slow."""
NEED_MODELS = ("whisper", "faster_whisper")
_SETTING = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")


@dataclass(slots=True)
class Utterance:
    """Something that is being said.

    Attributes:
        at: When it began, local time.
        text: What was read of it so far.
        origin: Where it is heard: "microphone", "api" ...
        phase: It is being said, being read, or was read.
        is_over_speech: The character was speaking when it began.
        note: Who read it and how fast, once it was read.
    """

    id: str
    at: datetime
    origin: str
    is_over_speech: bool = False
    text: str = ""
    phase: Phase = "speaking"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that was said and not taken, and why."""

    at: datetime
    words: str
    setting: str = ""
    """The setting that decided, if one did."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the microphone is shown: shape and word say the same as the colour."""

    word: str
    icon: str
    color: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Reader:
    """Who turns speech into words, for a person."""

    words: str
    trouble: bool = False
    """Whether something better is one click away."""
    is_deaf: bool = False
    """Whether nothing can read at all."""


class Microphone:
    """The facts and the requests that change them; Tk thread only.

    Args:
        client: Line to the backend.
        failed: Shows a failure to the user.
    """

    def __init__(self, client: BackendClient, failed: Callable[[Failure], None]) -> None:
        self.now = ListeningState()
        self.is_known = False
        """Whether the backend has said how the microphone is."""
        self.inputs: list[InputDeviceInfo] | None = None
        """Microphones there are; None before the backend has said so."""
        self.level_db = SILENCE_DB
        self.peak_db = SILENCE_DB
        self.speech = 0.0
        self.clipped = False
        self.live: OrderedDict[str, Utterance] = OrderedDict()
        """What is being said or read right now, by id."""
        self.drops: deque[Dropped] = deque(maxlen=KEPT_DROPS)
        """What was not taken, newest last, until somebody looked."""
        self.dropped = 0
        """How many that were."""
        self.is_ducked = False
        self.is_held = False
        """Whether the key or the button of push-to-talk is down."""
        self.key = TALK_KEY
        """The key of push-to-talk, as it is called."""
        self._client = client
        self._failed = failed
        self._before_open: ListeningMode = "off"
        self._listeners: list[tuple[frozenset[MicTopic], Callable[[], None]]] = []
        self._changes: dict[str, Any] = {}
        self._notes: dict[str, str] = {}
        self._sent: dict[str, Any] = {}
        self._level_due = False
        self._sent_talk = False
        self._busy = False

    # --- facts ----------------------------------------------------------------------------------------------------

    @property
    def look(self) -> Look:
        """How it is, for header and composer."""
        now = self.now
        if not self.is_known:
            return Look("Microphone", "voice", "text3", "The backend has not said how it is yet.")
        if now.problem:
            return Look("Mic problem", "warn", "error", now.problem)
        if now.mode == "off":
            return Look("Mic off", "voice", "text3", "The microphone is closed.")
        if now.muted:
            words = f"Muted: nothing you say counts.   {MUTE_KEY} unmutes"
            return Look("Muted", "mic_muted", "warn", words)
        if now.state in ("off", "starting"):
            return Look("Opening", "clock", "text2", "The microphone is being opened.")
        if now.state == "hearing":
            return Look("Hearing you", "mic_live", "accent", "Somebody is speaking.")
        if now.state == "reading":
            return Look("Reading", "logs", "accent", "What was said is being read.")
        if now.mode == "push_to_talk":
            if now.is_talking or self.is_held:
                return Look("Talk now", "mic_live", "accent", "Talk while you hold it.")
            words = f"Heard while you hold {self.key}."
            return Look(f"Hold {self.key}", "mic_on", "text2", words)
        where = f" on {now.device_now}" if now.device_now else ""
        return Look("Listening", "mic_on", "ok", f"Listening{where}.")

    @property
    def is_open(self) -> bool:
        """Whether something is heard without a key."""
        return self.now.mode == "open"

    def listen(
        self, topics: Iterable[MicTopic], callback: Callable[[], None]
    ) -> Callable[[], None]:
        """Call back when one of the topics changed; returns what ends it."""
        entry = (frozenset(topics), callback)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry) if entry in self._listeners else None

    # --- requests -------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Ask how it is."""
        self._client.get("/api/listening", self._loaded, self._quiet)

    def load_inputs(self) -> None:
        """Ask which microphones there are."""
        self._client.get("/api/devices", self.took_devices, self._quiet)

    def choose_mode(self, mode: ListeningMode) -> None:
        """Off, push-to-talk or open."""
        if mode == "open" and self.now.mode != "open":
            self._before_open = self.now.mode
        self._ask(mode=mode)

    def toggle_open(self) -> None:
        """Open the microphone, or go back to what it was before; a muted one is unmuted first."""
        if self.is_open and self.now.muted:
            self.set_muted(False)
        elif self.is_open:
            self.choose_mode(self._before_open if self._before_open != "open" else "off")
        elif self.now.muted:
            self._before_open = self.now.mode
            self._ask(mode="open", muted=False)
        else:
            self.choose_mode("open")

    def set_muted(self, muted: bool) -> None:
        """Mute or unmute."""
        self._ask(muted=muted)

    def toggle_mute(self) -> None:
        """Mute or unmute; a closed one says that there is nothing to mute."""
        if self.now.mode == "off" and not self.now.muted:
            self._failed(Failure("off", "The microphone is off: there is nothing to mute."))
        else:
            self.set_muted(not self.now.muted)

    def choose_device(self, name: str) -> None:
        """Listen to another microphone; empty = the system's."""
        self._ask(device=name)

    def set_gain(self, gain_db: float) -> None:
        """Make it louder or quieter, in dB."""
        self._ask(gain_db=round(min(HIGHEST_GAIN_DB, max(LOWEST_GAIN_DB, gain_db)), 1))

    def choose_guard(self, guard: EchoGuard) -> None:
        """How her own voice is kept out."""
        self._ask(guard=guard)

    def hold(self, down: bool) -> None:
        """Push-to-talk: the key or button is down, or up again.

        A closed microphone is opened for push-to-talk; an open one hears anyway.
        """
        if down:
            if self.is_held or not self.is_known:
                return
            if self.now.muted:
                words = f"The microphone is muted. {MUTE_KEY} unmutes it."
                self._failed(Failure("muted", words))
                return
            if self.now.mode == "open":
                return
            if self.now.mode == "off":
                self._ask(mode="push_to_talk")
        elif not self.is_held:
            return
        self.is_held = down
        self._tell("listening")
        self._pump()

    def test(
        self,
        then: Callable[[Any], None],
        failed: Callable[[Failure], None],
        seconds: float = TEST_S,
    ) -> None:
        """Record some seconds and play them back; ``then`` is called when that is done."""
        body = {"seconds": seconds}
        path = "/api/audio/input/test"
        self._client.post(path, body, then, failed, timeout_s=TEST_TIMEOUT_S)

    def seen_drops(self) -> None:
        """Somebody has looked at what was not taken."""
        self.drops.clear()
        self.dropped = 0
        self._tell("dropped")

    def set_key_name(self, name: str) -> None:
        """Push-to-talk has another key."""
        self.key = name
        self._tell("listening")

    # --- what arrives ---------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Keep the facts true."""
        if getattr(event, "conversation_id", STAGE) not in (STAGE, ""):
            return
        match event:
            case ListeningLevel():
                self.level_db = max(SILENCE_DB, event.level_dbfs)
                self.peak_db = max(SILENCE_DB, event.peak_dbfs)
                self.speech = event.speech
                self.clipped = event.clipped or (self.clipped and self._level_due)
                self._level_due = True
            case ListeningChanged():
                self._take(event.listening)
            case UtteranceStarted():
                self.live[event.utterance_id] = Utterance(
                    event.utterance_id, event.at.astimezone(), event.origin, event.over_speech
                )
                while len(self.live) > KEPT_UTTERANCES:
                    self.live.popitem(last=False)
                self._tell("live")
            case UtterancePartial():
                found = self._utterance(event.utterance_id, event)
                found.text = event.text
                self._tell("live")
            case UtteranceEnded():
                found = self._utterance(event.utterance_id, event)
                found.phase = "reading"
                self._tell("live")
            case UtteranceTranscribed() if event.utterance_id in self.live:
                found = self.live[event.utterance_id]
                found.text, found.phase = event.text or found.text, "read"
                found.note = f"{event.engine} {event.elapsed_ms / 1000:.2f} s"
                self._tell("live")
            case UtteranceDropped():
                self.live.pop(event.utterance_id, None)
                dropped = dropped_of(event)
                self.drops.append(dropped)
                self.dropped += 1
                self._tell("live")
                self._tell("dropped")
            case ChatMessage():
                self._said(event)
            case PlaybackDucked():
                self._duck(event.is_ducked)
            case PlaybackFinished():
                self._duck(False)

    def flush(self) -> None:
        """Show the newest level, however many have arrived; the window calls it once per drain."""
        if self._level_due:
            self._level_due = False
            self._tell("level")

    def taken_note(self, text: str) -> str:
        """Who read a message that was just said; empty when it was not said."""
        return self._notes.pop(text, "")

    def took_devices(self, value: Any) -> None:
        """What ``GET /api/devices`` says of microphones."""
        if not isinstance(value, dict):
            return
        found = value.get("inputs")
        if isinstance(found, list):
            self.inputs = read_models(InputDeviceInfo, found)
            self._tell("inputs")
        state = read_model(ListeningState, value.get("input"))
        if state is not None and not self._busy:
            self._take(state)

    def lost(self) -> None:
        """The connection is gone: nothing is heard as far as we know."""
        self.is_known = False
        self.is_held = self._sent_talk = False
        self._changes.clear()
        self.live.clear()
        self.is_ducked = False
        self._quieten()
        self._tell("listening")
        self._tell("live")
        self._tell("ducked")

    # --- inside ---------------------------------------------------------------------------------------------------

    def _utterance(self, key: str, event: Event) -> Utterance:
        """One that began before the window was there is known from its first news on."""
        origin = str(getattr(event, "origin", "microphone"))
        return self.live.setdefault(key, Utterance(key, event.at.astimezone(), origin))

    def _said(self, message: ChatMessage) -> None:
        """A message arrived: what was being said became it."""
        same = [one for one in self.live.values() if one.origin == message.origin]
        if not same:
            return
        done = [one for one in same if one.text == message.text or one.phase == "read"]
        one = (done or same)[0]
        del self.live[one.id]
        self._notes.clear()
        if one.note:
            self._notes[message.text] = one.note
        self._tell("live")

    def _duck(self, is_ducked: bool) -> None:
        if is_ducked != self.is_ducked:
            self.is_ducked = is_ducked
            self._tell("ducked")

    def _forget_live(self) -> None:
        """A closed microphone finishes nothing that was begun."""
        gone = [key for key, one in self.live.items() if one.origin == "microphone"]
        for key in gone:
            del self.live[key]
        if gone:
            self._tell("live")

    def _quieten(self) -> None:
        self.level_db = self.peak_db = SILENCE_DB
        self.speech, self.clipped = 0.0, False
        self._tell("level")

    def _take(self, state: ListeningState) -> None:
        before, self.is_known = self.now, True
        # What was asked for and not answered yet stays as it was chosen.
        self.now = state.model_copy(update=self._sent | self._changes)
        if self.now.state in ("off", "problem"):
            self._quieten()
            self._forget_live()
        self._tell("listening")
        came_or_went = (before.problem, before.device_now) != (state.problem, state.device_now)
        if came_or_went and self.inputs is not None:
            self.load_inputs()

    def _ask(self, **changes: Any) -> None:
        self._changes |= changes
        self.now = self.now.model_copy(update=changes)
        self._tell("listening")
        self._pump()

    def _pump(self) -> None:
        """Send what waits, one request at a time."""
        if self._busy:
            return
        if self._changes:
            self._sent, self._changes = self._changes, {}
            self._busy = True
            self._client.post("/api/audio/input", dict(self._sent), self._took, self._refused)
        elif self.is_held != self._sent_talk:
            self._busy, self._sent_talk = True, self.is_held
            body = {"down": self.is_held}
            self._client.post("/api/listening/talk", body, self._took, self._talk_refused)

    def _took(self, value: Any) -> None:
        self._busy, self._sent = False, {}
        state = read_model(ListeningState, value)
        if state is not None:
            self._take(state)
        self._pump()

    def _refused(self, failure: Failure) -> None:
        self._busy, self._sent = False, {}
        self._failed(failure)
        self.load()
        self._pump()

    def _talk_refused(self, failure: Failure) -> None:
        self._busy = False
        self.is_held = self._sent_talk = False
        self._failed(failure)
        self._tell("listening")
        self.load()

    def _loaded(self, value: Any) -> None:
        state = read_model(ListeningState, value)
        if state is not None and not self._busy:
            self._take(state)

    def _quiet(self, failure: Failure) -> None:
        logger.info("not loaded: %s", failure.message)

    def _tell(self, topic: MicTopic) -> None:
        for topics, callback in list(self._listeners):
            if topic in topics:
                callback()


def dropped_of(event: UtteranceDropped) -> Dropped:
    """What was not taken, in one quiet line."""
    what = f"\u201c{event.text[:80]}\u201d " if event.text else ""
    why = event.detail or DROP_WORDS.get(event.reason, event.reason.replace("_", " "))
    found = _SETTING.search(why)
    return Dropped(event.at.astimezone(), f"Not taken: {what}{why}", found[0] if found else "")


def where_words_go(settings: Mapping[str, SettingInfo]) -> tuple[str, bool]:
    """Where the sound of a voice goes, in one kind sentence, and whether that is off this computer."""
    kept = "Your voice is not recorded and not sent anywhere: it becomes words on this computer."
    chain = settings.get("STT_CHAIN")
    names = chain.value if chain is not None and isinstance(chain.value, tuple | list) else ()
    if "openai_compatible" not in names:
        return kept, False
    own = settings.get("STT_OPENAI_URL")
    shared = settings.get("OPENAI_BASE_URL")
    url = next((str(one.value) for one in (own, shared) if one is not None and one.value), "")
    host = urlsplit(url).hostname or ""
    if not host or host in ("localhost", "::1") or host.startswith("127."):
        return kept, False
    if names[0] == "openai_compatible":
        words = f"Your voice is sent to {host}, which turns it into words: STT_CHAIN says so. Nothing is recorded here."
    else:
        words = (
            f"Your voice becomes words on this computer; only where that fails it is sent to {host}, because STT_CHAIN "
            "says so. Nothing is recorded here."
        )
    return words, True


def reader_of(settings: Mapping[str, SettingInfo], services: Mapping[str, ServiceInfo]) -> Reader:
    """Who turns speech into words: the first recogniser of STT_CHAIN that can be used."""
    chain = settings.get("STT_CHAIN")
    names = chain.value if chain is not None and isinstance(chain.value, tuple | list) else ()
    known = [(str(name), services.get(f"stt/{name}")) for name in names]
    if not any(info is not None for _, info in known):
        return Reader("")
    usable = [
        name for name, info in known if info is not None and info.state not in ("off", "failed")
    ]
    if not usable:
        why = next((info.error or info.fix for _, info in known if info is not None), "")
        return Reader(f"Nothing here can turn speech into words. {why}".strip(), True, True)
    first = usable[0]
    if first == "sphinx":
        words = (
            "Sphinx reads what you say: basic, and English only. A Whisper model makes it better."
        )
        return Reader(words, True)
    title = READERS.get(first, first.replace("_", " "))
    model = settings.get("WHISPER_MODEL")
    if first in NEED_MODELS and model is not None and model.value:
        title = f"Whisper {str(model.value).replace(chr(92), '/').rsplit('/', 1)[-1]}"
    return Reader(f"{title} reads what you say.")


def setting_of(detail: str, known: Iterable[str]) -> str:
    """The setting behind a wait: the one its words name, else the one that chose the recogniser they begin with.

    Empty when there is none of that name.
    """
    names = set(known)
    found = next((name for name in _SETTING.findall(detail) if name in names), "")
    if not found:
        reader = detail.split(" ")[0].partition("/")[0].rstrip(",;:")
        found = CHOSEN_BY.get(reader, "")
    return found if found in names else ""
