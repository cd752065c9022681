"""What the window knows of the stage: characters, who is on, who answers, how loud it is.

Header, Chat and menus show the same facts; they are loaded once per connection and kept true by events.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from backend.contracts.entities import STAGE, Character, ServiceInfo, Span
from backend.contracts.events import (
    AvatarChanged,
    CharacterChanged,
    CharacterSwitched,
    ConfigChanged,
    Event,
    PanicChanged,
    PlaybackFinished,
    PlaybackPosition,
    PlaybackStarted,
    ServiceChanged,
    TurnFinished,
    TurnStarted,
)
from backend.contracts.panic import PanicState
from backend.contracts.settings import SettingInfo
from frontend.client import BackendClient, Failure

logger = logging.getLogger(__name__)

SILENCE_DB = -60.0
VOLUME_PAUSE_MS = 80  # a dragged slider asks at most this often

Topic = Literal[
    "characters", "character", "sound", "level", "answering", "provider", "expression", "panic"
]
_CAUSE = re.compile(r"^[A-Z][A-Z0-9_]*(?:=|: )")
M = TypeVar("M", bound=BaseModel)

PROVIDER_TITLES = {
    "auto": "Automatic",
    "openai_compatible": "OpenAI-compatible server",
    "persona": "Built-in persona",
    "openai": "OpenAI",
    "openrouter": "OpenRouter",
    "anthropic": "Anthropic",
    "ollama": "Ollama",
    "lmstudio": "LM Studio",
    "llamacpp": "llama.cpp",
    "echo": "Echo (test)",
}


def read_model(kind: type[M], value: Any) -> M | None:
    """A contract value from JSON; fields that a newer backend added are left out, None when it does not fit."""
    if not isinstance(value, dict):
        return None
    known = {name: item for name, item in value.items() if name in kind.model_fields}
    try:
        return kind.model_validate(known)
    except ValidationError as error:
        logger.warning("the backend sent a %s that does not fit: %s", kind.__name__, error)
        return None


def read_models(kind: type[M], value: Any, *names: str) -> list[M]:
    """Several contract values, from a list or from an object that holds the list under one of the names."""
    if isinstance(value, dict):
        value = next((value[name] for name in names if name in value), [])
    if not isinstance(value, list):
        return []
    return [model for item in value if (model := read_model(kind, item)) is not None]


class Stage:
    """The facts and the requests that change them; Tk thread only.

    Args:
        client: Line to the backend.
        failed: Shows a failure to the user.
        after: Tk's ``after``, for requests that are held back a moment.
        took_devices: Also told what ``GET /api/devices`` answers: the microphones are in it as well.
    """

    def __init__(
        self,
        client: BackendClient,
        failed: Callable[[Failure], None],
        after: Callable[[int, Callable[[], None]], str],
        took_devices: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.characters: list[Character] = []
        self.character_id = ""
        self.expression = "neutral"
        self.settings: dict[str, SettingInfo] = {}
        self.services: dict[str, ServiceInfo] = {}
        self.devices: list[str] = []
        self.device = ""
        self.sink = ""
        self.device_trouble = ""
        self.volume = 1.0
        self.muted = False
        self.level_db = SILENCE_DB
        self.is_lost = False
        """Whether the backend is out of reach, so that nothing known of it is sure."""
        self.panic = PanicState()
        """Whether everything is stopped."""
        self.answered_by = ("", "")
        """Engine and model of the last reply."""
        self.answering: set[str] = set()
        """Ids of turns that run or are heard right now."""
        self._client = client
        self._failed = failed
        self._after = after
        self._listeners: list[tuple[frozenset[Topic], Callable[[], None]]] = []
        self._volume_waits = False
        self._tell_devices = took_devices

    @property
    def character(self) -> Character | None:
        """Who is on."""
        return next((c for c in self.characters if c.id == self.character_id), None)

    @property
    def provider(self) -> str:
        """Who answers, in words: who did last, else who is set."""
        setting = self.settings.get("LLM_PROVIDER")
        if setting is None:
            return ""
        name, model = self.answered_by
        if not name:
            name = str(setting.value or "")
        title = PROVIDER_TITLES.get(name, name)
        return f"{title}  {model.rsplit('/', 1)[-1]}".strip()

    def listen(self, topics: Iterable[Topic], callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when one of the topics changed; returns what ends it."""
        entry = (frozenset(topics), callback)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry) if entry in self._listeners else None

    def load(self) -> None:
        """Ask for everything."""
        self.is_lost = False
        self.load_characters()
        self._client.get(f"/api/conversations/{STAGE}", self._took_conversation, self._quiet)
        self.load_settings()
        self._client.get("/api/status", self._took_status, self._quiet)
        self._client.get("/api/panic", self._took_panic, self._quiet)
        self.load_devices()

    def load_characters(self) -> None:
        """Ask who there is."""
        self._client.get("/api/characters", self._took_characters, self._failed)

    def load_settings(self) -> None:
        """Ask for the settings."""
        self._client.get("/api/config", self._took_settings, self._quiet)

    def load_devices(self) -> None:
        """Ask for the output devices and the volume."""
        self._client.get("/api/devices", self._took_devices, self._quiet)

    def switch_character(self, character_id: str) -> None:
        """Put another character on."""
        body = {"character_id": character_id, "conversation_id": STAGE}
        self._client.post("/api/switch_character", body, None, self._failed)

    def choose_provider(self, name: str) -> None:
        """Let another provider answer."""
        setting = self.settings.get("LLM_PROVIDER")
        if setting is not None and setting.locked:
            self._failed(
                Failure("locked", f"LLM_PROVIDER cannot be changed here: {setting.locked}")
            )
            return
        body = {"values": {"LLM_PROVIDER": name}}
        self._client.post("/api/config", body, lambda _: self.load_settings(), self._failed)

    def set_volume(self, volume: float) -> None:
        """Change the volume, 0-1; unmutes."""
        self.volume = volume
        self.muted = False
        self._tell("sound")
        if not self._volume_waits:
            self._volume_waits = True
            self._after(VOLUME_PAUSE_MS, self._send_volume)

    def set_muted(self, muted: bool) -> None:
        """Mute or unmute."""
        self.muted = muted
        self._tell("sound")
        body = {"muted": muted}
        self._client.post("/api/audio/output", body, self._took_output, self._failed)

    def set_device(self, name: str) -> None:
        """Play on another device; empty = the system's."""
        self.device = name
        self._tell("sound")
        body = {"device": name}
        self._client.post("/api/audio/output", body, self._took_output, self._device_failed)

    def show_expression(self, name: str) -> None:
        """Let the character show an expression for five seconds; neutral at once."""
        body: dict[str, Any] = {"expression_id": name}
        if name != "neutral":
            body["duration"] = 5000
        self._client.post("/api/expression", body, None, self._failed)

    def interrupt(self) -> None:
        """Stop the reply and its sound, also one that is played again."""
        self._client.post("/api/audio/stop", None, None, self._quiet)
        self._client.post(f"/api/conversations/{STAGE}/interrupt", {}, None, self._failed)

    def stop_everything(self) -> None:
        """Panic: every turn, every sound and the microphone stop, faces become neutral, until `go_on`."""
        self._client.post("/api/panic", {"by": "window"}, self._took_panic, self._panic_failed)

    def go_on(self) -> None:
        """Go on after a panic; everything is as it was set."""
        self._client.post("/api/resume", {"by": "window"}, self._took_panic, self._failed)

    def on_event(self, event: Event) -> None:
        """Keep the facts true."""
        match event:
            case PanicChanged():
                self._set_panic(event.panic)
            case CharacterSwitched(conversation_id=where) if where == STAGE:
                self.character_id = event.character_id
                self.expression = "neutral"
                self._tell("character")
            case CharacterChanged():
                self.load_characters()
            case AvatarChanged() if event.character_id == self.character_id:
                self.expression = event.expression
                self._tell("expression")
            case ConfigChanged():
                if any(
                    name.startswith(("LLM_", "OPEN", "ANTHROPIC", "OLLAMA")) for name in event.names
                ):
                    self.answered_by = ("", "")
                self.load_settings()
                if {"OUTPUT_DEVICE", "AUDIO_SINK"} & set(event.names):
                    self.load_devices()
            case ServiceChanged():
                self.services[event.service.name] = event.service
                self._tell("provider")
            case TurnStarted(conversation_id=where) if where == STAGE:
                self._answer(event.turn_id, True)
            case TurnFinished(conversation_id=where) if where == STAGE:
                self._answer(event.turn_id, False)
                self.note_engine(event.spans)
            case PlaybackStarted(conversation_id=where) if where == STAGE:
                self._answer(event.turn_id, True)
            case PlaybackPosition(conversation_id=where) if where == STAGE:
                self.level_db = max(SILENCE_DB, event.level_dbfs)
                self._tell("level")
            case PlaybackFinished(conversation_id=where) if where == STAGE:
                self._answer(event.turn_id, False)
                self.level_db = SILENCE_DB
                self._tell("level")

    def lost(self) -> None:
        """The connection is gone: nothing is being said as far as we know."""
        self.is_lost = True
        self._tell("provider")
        self.answering.clear()
        self.level_db = SILENCE_DB
        self._tell("answering")
        self._tell("level")

    def note_engine(self, spans: Iterable[Span]) -> None:
        """Learn from a finished turn's stages who answered it."""
        for span in spans:
            if span.stage == "llm" and span.detail and span.name != "writing":
                # Begins with the setting, may end with what THINK_AHEAD hid.
                who = span.detail.partition(";")[0]
                name, _, model = _CAUSE.sub("", who).partition(", model ")
                if (name, model) != self.answered_by:
                    self.answered_by = (name, model)
                    self._tell("provider")

    def _answer(self, turn_id: str | None, running: bool) -> None:
        before = bool(self.answering)
        if turn_id is not None:
            (self.answering.add if running else self.answering.discard)(turn_id)
        if bool(self.answering) != before:
            self._tell("answering")

    def _tell(self, topic: Topic) -> None:
        for topics, callback in list(self._listeners):
            if topic in topics:
                callback()

    def _set_panic(self, panic: PanicState) -> None:
        if panic != self.panic:
            self.panic = panic
            self._tell("panic")

    def _took_panic(self, value: Any) -> None:
        panic = read_model(PanicState, value)
        if panic is not None:
            self._set_panic(panic)

    def _panic_failed(self, failure: Failure) -> None:
        """What can be stopped in another way is."""
        self.interrupt()
        self.set_muted(True)
        why = "it does not know panic" if failure.status == 404 else failure.message
        words = f"The backend did not stop everything ({why}). The reply was stopped and her voice muted."
        self._failed(Failure(failure.code, words, failure.status))

    def _send_volume(self) -> None:
        self._volume_waits = False
        body = {"volume": round(self.volume, 3), "muted": self.muted}
        self._client.post("/api/audio/output", body, None, self._failed)

    def _quiet(self, failure: Failure) -> None:
        logger.info("not loaded: %s", failure.message)

    def _device_failed(self, failure: Failure) -> None:
        self._failed(failure)
        self.load_devices()

    def _took_characters(self, value: Any) -> None:
        self.characters = read_models(Character, value, "characters", "items")
        self._tell("characters")
        self._tell("character")

    def _took_conversation(self, value: Any) -> None:
        if isinstance(value, dict):
            value = value.get("conversation", value)
            self.character_id = str(value.get("character_id", self.character_id))
            self._tell("character")

    def _took_settings(self, value: Any) -> None:
        found = read_models(SettingInfo, value, "settings", "items")
        if found:
            self.settings = {setting.name: setting for setting in found}
            self._tell("provider")

    def _took_status(self, value: Any) -> None:
        found = read_models(ServiceInfo, value, "services", "items")
        self.services = {service.name: service for service in found}
        self._tell("provider")

    def _took_devices(self, value: Any) -> None:
        self._tell_devices(value)
        if not isinstance(value, dict):
            return
        outputs = value.get("outputs", [])
        self.devices = [
            str(item.get("name", "")) if isinstance(item, dict) else str(item) for item in outputs
        ]
        self._took_output(value.get("output", value))

    def _took_output(self, value: Any) -> None:
        if not isinstance(value, dict):
            return
        self.device = str(value.get("device") or "")
        self.sink = str(value.get("sink") or self.sink)
        self.device_trouble = str(value.get("problem") or "")
        if not self._volume_waits:
            volume = value.get("volume")
            if isinstance(volume, int | float):
                self.volume = min(1.0, max(0.0, float(volume)))
            self.muted = bool(value.get("muted", self.muted))
        self._tell("sound")
