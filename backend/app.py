"""Build the backend: the one place where its parts are made and connected.

`Engines` turns settings into engines and does so again when a setting changes; `Backend` owns everything from start to
stop; `create_app` puts the guard and the routes in front.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from fastapi import FastAPI
from pydantic import SecretStr

from backend import guard
from backend.api import ROUTERS, errors
from backend.api.state import Services
from backend.avatar.state import AvatarState
from backend.chat.characters import Characters
from backend.chat.conversations import Chat
from backend.chat.turn import SpeechEngine, TurnRunner
from backend.contracts.entities import Audio, Cue, ServiceInfo, VoiceChoice, VoiceInfo
from backend.contracts.errors import AppError, EngineUnavailableError
from backend.contracts.events import ConfigChanged, ErrorOccurred, ServiceChanged, TurnRetried
from backend.core import logs
from backend.core.addresses import origin_of
from backend.core.auth_token import load_or_create_token, rotate_token
from backend.core.bus import EventBus
from backend.core.context import current_turn
from backend.core.http import HttpClient
from backend.core.modules import Modules
from backend.core.service import Switch
from backend.core.workers import EngineHost
from backend.engines.llm import LLMS
from backend.engines.llm import options as llm_options
from backend.engines.llm.base import LLM
from backend.engines.stt import RECOGNISERS
from backend.engines.stt import options as stt_options
from backend.engines.stt.base import STT
from backend.engines.tts import VOICES
from backend.engines.tts import options as tts_options
from backend.engines.tts.base import TTS
from backend.library.downloads import Downloads
from backend.library.voices import VoiceLibrary
from backend.monitoring.system import SystemMonitor
from backend.outputs import SINKS
from backend.outputs.base import Sink, SpeakerOptions
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from backend.storage import modules as module_rows
from backend.storage.database import Database
from backend.storage.event_store import EventStore
from backend.storage.retention import prune_turns
from config import VERSION, LoadedSettings, Settings, is_live
from config_store import SettingsStore

logger = logging.getLogger(__name__)

HOUSEKEEPING_S = 3600.0

INSPECT_S = 60.0
"""Reading a large voice from a slow disk, in a process that may have to start first."""

CUE_MS = 20_000
"""An expression from a reply fades back to neutral when nothing else is felt for this long."""

ENGINE_SETTINGS = ("llm_", "tts_", "stt_", "piper_", "whisper_", "voice_", *llm_options.REMOTE)
"""Settings that begin like this are built into the engines."""


ENGINE_TITLES = {
    "llm": "Language model",
    "tts": "Voice",
    "stt": "Speech to text",
    "embedded": "built in",
    "persona": "built-in persona",
    "sphinx": "built in, basic",
    "openai": "OpenAI",
    "openrouter": "OpenRouter",
    "anthropic": "Anthropic",
    "ollama": "Ollama",
    "llamacpp": "llama.cpp",
    "lmstudio": "LM Studio",
    "piper": "Piper",
    "whisper": "Whisper",
    "openai_compatible": "compatible server",
}


@runtime_checkable
class Chooses(Protocol):
    """An engine that chooses among others and remembers which one failed."""

    def troubles(self) -> dict[str, str]:
        """Those left alone right now, and why."""
        ...


@runtime_checkable
class Rests(Protocol):
    """An engine that leaves failing ones out for a while."""

    def resting(self) -> dict[str, float]:
        """Those left out, and for how many seconds."""
        ...


@runtime_checkable
class Needs(Protocol):
    """An engine that needs a file which may not be here."""

    def missing(self) -> str:
        """What is missing and how to get it; looks at the disk."""
        ...


class Engines:
    """Language models, voices and recognisers, as the settings want them now."""

    def __init__(
        self, settings: Settings, *, bus: EventBus, host: EngineHost, http: HttpClient
    ) -> None:
        self._bus = bus
        self._host = host
        self._http = http
        self.settings = settings
        self.problems: dict[str, str] = {}
        self.minds: list[str] = []
        """Language models of the main role, in the order they are asked."""
        self.addresses: list[str] = []
        """Of providers, in the order they are asked; a connection to the first is opened ahead of the first turn."""
        self.llm: LLM = self._language_model("main")
        self.voices: dict[str, TTS] = {}
        self.speech: TTS = self._speech()
        self.recognisers: dict[str, STT] = {}
        self.hearing: STT = self._hearing()

    def rebuild(self, settings: Settings) -> None:
        """Use other settings from the next turn on; a running turn ends with the engines it began with."""
        self.settings = settings
        self.problems = {}
        self.addresses = []
        self.llm = self._language_model("main")
        self.speech = self._speech()
        self.hearing = self._hearing()

    def role(self, role: str) -> LLM:
        """The language model of a role ("memory", "vision", "internet", "autonomy"); main's unless set apart."""
        return self._language_model(role)

    async def close(self) -> None:
        """Wait until what was spoken is in the cache."""
        await self.speech.close()

    @property
    def first_asked(self) -> list[str]:
        """Addresses that the next turn will ask, to be connected to ahead of it."""
        found = self.addresses[:1]
        if self.settings.tts_chain[:1] == ("openai_compatible",) and self.settings.tts_openai_url:
            found.append(self.settings.tts_openai_url)
        return found

    async def health(self) -> list[ServiceInfo]:
        """Every engine, in the order it is asked; one that cannot be used or failed lately says why."""
        troubles = self.llm.troubles() if isinstance(self.llm, Chooses) else {}
        resting = self.speech.resting() if isinstance(self.speech, Rests) else {}
        found = [
            _engine_info("llm", name, troubles.get(name, ""), self.problems.get(f"llm/{name}", ""))
            for name in self.minds
        ]
        engines: Mapping[str, object]
        for kind, names, engines in (
            ("tts", self.settings.tts_chain, self.voices),
            ("stt", self.settings.stt_chain, self.recognisers),
        ):
            for name in names:
                engine = engines.get(name)
                absent = (
                    await asyncio.to_thread(engine.missing) if isinstance(engine, Needs) else ""
                )
                rest = (
                    f"left out for {resting[name]:.0f} s after it failed" if name in resting else ""
                )
                problem = self.problems.get(f"{kind}/{name}", "")
                found.append(_engine_info(kind, name, rest, problem, absent))
        processes = {info.name.removeprefix("engine/"): info for info in self._host.health()}
        return [_with_process(info, processes) for info in found]

    # --- thinking ---

    def _provider_values(self) -> dict[str, llm_options.ProviderValues]:
        settings = self.settings

        def secret(name: str) -> str:
            value = getattr(settings, name, None)
            return value.get_secret_value() if value is not None else ""

        values: dict[str, llm_options.ProviderValues] = {}
        for name in llm_options.REMOTE:
            url = getattr(settings, f"{name}_base_url", "") or getattr(settings, f"{name}_url", "")
            values[name] = llm_options.ProviderValues(
                key=secret(f"{name}_api_key") or secret(f"{name}_key"),
                url=url,
                model=getattr(settings, f"{name}_model", ""),
            )
        return values

    def _language_model(self, role: str) -> LLM:
        settings = self.settings
        wanted = settings.llm_role(role)
        values = self._provider_values()
        names: list[str] = []
        for name in (wanted.provider, *settings.llm_fallbacks, "persona"):
            actual = llm_options.first_configured(values) if name == "auto" else name
            if actual not in names:
                names.append(actual)
        limits = llm_options.Limits(
            first_token_s=settings.llm_first_token_timeout_s,
            between_s=settings.llm_token_timeout_s,
        )
        engines: list[LLM] = []
        if role == "main":
            self.minds = names
        for name in names:
            try:
                engines.append(
                    self._one_model(name, values, wanted.model if not engines else "", limits)
                )
            except AppError as error:
                self.problems[f"llm/{name}"] = error.message
                logger.warning("%s is left out: %s", name, error.message)
        return LLMS.create(
            "fallback",
            llm_options.FallbackOptions(
                engines=engines,
                retry=llm_options.RetryPolicy(retries=settings.llm_retries),
                on_retry=self._tell_retry,
            ),
        )

    def _one_model(
        self,
        name: str,
        values: dict[str, llm_options.ProviderValues],
        model: str,
        limits: llm_options.Limits,
    ) -> LLM:
        if name == "persona":
            return LLMS.create(name, llm_options.PersonaOptions())
        if name == "echo":
            return LLMS.create(name, llm_options.EchoOptions())
        value = values[name]
        if model:
            value = llm_options.ProviderValues(key=value.key, url=value.url, model=model)
        options = llm_options.options_for(name, value, self._http, limits)
        self.addresses.append(options.base_url)
        return LLMS.create(name, options)

    def _tell_retry(
        self, engine: str, next_engine: str, kind: str, reason: str, wait_s: float
    ) -> None:
        turn = current_turn.get()
        self._bus.publish(
            TurnRetried(
                engine=engine,
                next_engine=next_engine,
                kind=kind,
                reason=reason,
                wait_s=wait_s,
                turn_id=turn.turn_id if turn else None,
                conversation_id=turn.conversation_id if turn else "",
            )
        )

    # --- speaking ---

    def _speech(self) -> TTS:
        settings = self.settings
        self.voices = {}
        for name in settings.tts_chain:
            try:
                self.voices[name] = self._one_voice(name)
            except AppError as error:
                self.problems[f"tts/{name}"] = error.message
                logger.warning("%s is left out: %s", name, error.message)
        cache = settings.data_dir / "audio" / "cache"
        share = max(1, len(self.voices))
        engines = tuple(
            VOICES.create(
                "cache",
                tts_options.CacheOptions(
                    inner=voice, folder=cache, limit_bytes=(settings.tts_cache_mb << 20) // share
                ),
            )
            for voice in self.voices.values()
        )
        return VOICES.create(
            "chain",
            tts_options.ChainOptions(
                engines=engines,
                timeout_s=settings.tts_timeout_s,
                aliases=_aliases(settings.voice_aliases),
                on_failure=lambda engine, error: self._tell_failure("tts", engine, error),
            ),
        )

    def _one_voice(self, name: str) -> TTS:
        settings = self.settings
        options: Any
        if name == "piper":
            options = tts_options.PiperOptions(
                host=self._host,
                folder=settings.models_dir / "piper",
                voice_path=settings.piper_model_path,
                length_scale=settings.piper_length_scale,
                noise_scale=settings.piper_noise_scale,
                noise_w_scale=settings.piper_noise_w,
                timeout_s=settings.tts_timeout_s,
            )
        elif name == "embedded":
            options = tts_options.EmbeddedOptions(host=self._host, timeout_s=settings.tts_timeout_s)
        elif name == "openai_compatible":
            key = settings.tts_openai_key or _openai_key_for(settings.tts_openai_url, settings)
            url = settings.tts_openai_url
            if not url:
                raise EngineUnavailableError(
                    "TTS_OPENAI_URL is not set: give the address of a speech server."
                )
            self._http.trust(url)
            options = tts_options.OpenAICompatibleOptions(
                http=self._http,
                host=self._host,
                base_url=url,
                api_key=key.get_secret_value() if key else "",
                model=settings.tts_openai_model,
                voice=settings.tts_openai_voice,
                timeout_s=settings.tts_timeout_s,
            )
        else:
            options = tts_options.ToneOptions()
        return VOICES.create(name, options)

    def _tell_failure(self, kind: str, engine: str, error: AppError) -> None:
        turn = current_turn.get()
        self._bus.publish(
            ErrorOccurred(
                source=f"{kind}/{engine}",
                severity="WARNING",
                code=error.code,
                reason=error.message,
                kind=getattr(error, "kind", ""),
                engine=engine,
                turn_id=turn.turn_id if turn else None,
                conversation_id=turn.conversation_id if turn else "",
            )
        )

    # --- hearing ---

    def _hearing(self) -> STT:
        settings = self.settings
        self.recognisers = {}
        for name in settings.stt_chain:
            try:
                self.recognisers[name] = self._one_recogniser(name)
            except AppError as error:
                self.problems[f"stt/{name}"] = error.message
                logger.warning("%s is left out: %s", name, error.message)
        return RECOGNISERS.create(
            "chain",
            stt_options.ChainOptions(
                engines=tuple(self.recognisers.values()),
                on_failure=lambda engine, error: self._tell_failure("stt", engine, error),
            ),
        )

    def _one_recogniser(self, name: str) -> STT:
        settings = self.settings
        options: Any
        if name == "whisper":
            options = stt_options.WhisperOptions(
                host=self._host,
                folder=settings.models_dir / "whisper",
                model=settings.whisper_model,
                language=settings.stt_language,
                timeout_s=settings.stt_timeout_s,
            )
        elif name == "sphinx":
            options = stt_options.SphinxOptions(host=self._host, timeout_s=settings.stt_timeout_s)
        elif name == "openai_compatible":
            key = settings.stt_openai_key or _openai_key_for(settings.stt_openai_url, settings)
            if not settings.stt_openai_url:
                raise EngineUnavailableError(
                    "STT_OPENAI_URL is not set: give the address of a server."
                )
            self._http.trust(settings.stt_openai_url)
            options = stt_options.OpenAICompatibleOptions(
                http=self._http,
                host=self._host,
                base_url=settings.stt_openai_url,
                api_key=key.get_secret_value() if key else "",
                model=settings.stt_openai_model,
                language=settings.stt_language,
                timeout_s=settings.stt_timeout_s,
            )
        else:
            options = stt_options.ScriptOptions()
        return RECOGNISERS.create(name, options)


class Backend:
    """Everything that runs behind the routes, from start to stop; all methods in the backend's loop."""

    def __init__(self, loaded: LoadedSettings, access: guard.Access) -> None:
        settings = loaded.settings
        self.loaded = loaded
        self.access = access
        self.bus = EventBus()
        self.http = HttpClient()
        self.host = EngineHost(on_change=self._tell_service)
        self.database = Database(
            settings.database_url, settings.data_dir, keep_backups=settings.keep_backups
        )
        self.events = EventStore(self.database, self.bus)
        self.characters = Characters(self.database, self.bus, settings.data_dir / "avatars")
        self.avatar = AvatarState(self.bus)
        self.engines = Engines(settings, bus=self.bus, host=self.host, http=self.http)
        self.sounds = SoundStore(
            settings.data_dir / "audio" / "turns",
            max_bytes=settings.keep_audio_mb << 20,
            max_age_days=settings.keep_audio_days,
        )
        self.player = Player(
            self.bus,
            self._sink(_sink_name(settings)),
            self._show_cue,
        )
        self.speaking = Switch("speak", "Voice", self._voice_in_words)
        self.hearing = Switch("hear", "Speech to text", self._hearing_in_words)
        self.remembering = Switch("memory", "Memory", lambda: "remembers the conversation")
        self.showing = Switch("avatar", "Avatar", lambda: "expressions follow the reply")
        self.modules = Modules(
            self.bus,
            (self.hearing, self.speaking, self.remembering, self.showing),
            initially_on=settings.modules_on,
            load=lambda: self.database.read(module_rows.states),
            keep=self._keep_module,
        )
        self.monitor = SystemMonitor(
            self.bus,
            settings.data_dir,
            interval_s=settings.metrics_interval_s,
            gpu_interval_s=settings.gpu_metrics_interval_s,
        )
        self.runner = TurnRunner(
            bus=self.bus,
            llm=lambda: self.engines.llm,
            speech=self._speech,
            sounds=self.sounds,
            player=self.player,
            remembers=lambda: self.remembering.is_on,
            budget_tokens=settings.context_tokens,
            reply_tokens=settings.llm_max_tokens,
            temperature=settings.llm_temperature,
        )
        self.chat = Chat(
            bus=self.bus,
            database=self.database,
            characters=self.characters,
            runner=self.runner,
            user_name=lambda: self.engines.settings.user_name,
        )
        self.downloads = Downloads(self.bus, self.http, settings.models_dir)
        self.voices = VoiceLibrary(
            self.bus, self.database, settings.models_dir, self._inspect_voice
        )
        self.config = SettingsStore(loaded, on_saved=self._settings_saved)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._detach_log: Callable[[], None] = lambda: None

    # --- start and stop ---

    async def start(self) -> None:
        """Open the database, bind the bus, warm the engines; the first turn is as fast as the tenth."""
        loop = self._loop = asyncio.get_running_loop()
        await self.database.open()
        self.bus.bind(loop, seq=await self.events.last_seq(), persist=self.events.persist)
        self._keep(self.bus.run(), "events to disk and sockets")
        self._detach_log = logs.attach(self.bus)
        for notice in self.database.notices:
            self.bus.publish(
                ErrorOccurred(
                    source="storage", severity="WARNING", code="storage.notice", reason=notice
                )
            )
        for notice in self.loaded.notices:
            self.bus.publish(
                ErrorOccurred(
                    source="config", severity="WARNING", code="config.notice", reason=notice
                )
            )
        await self.characters.open()
        self._apply(self.engines.settings)
        await self.modules.start()
        await self.chat.start()
        self._keep(self.monitor.run(), "system monitor")
        self._keep(self._warm(), "warming engines")
        self._keep(self._housekeeping(), "housekeeping")

    async def stop(self) -> None:
        """Stop in the order in which nothing is lost: turns, then events, then the database."""
        await self.chat.stop()
        await self.modules.stop()
        await self.downloads.stop()
        for task in self._tasks:
            if task.get_name() != "events to disk and sockets":
                task.cancel()
        await self.sounds.close()
        await self.engines.close()
        await self.player.sink.close()
        await self.host.stop()
        await self.http.close()
        self._detach_log()
        await self.bus.flush()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.database.close()

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s stopped", task.get_name(), exc_info=error)

    async def _warm(self) -> None:
        """Load what the first turn needs, in the background: a warm engine answers at once."""
        self.engines.speech.warm()
        self.player.sink.warm()
        async with asyncio.TaskGroup() as group:
            for address in self.engines.first_asked:
                group.create_task(self.http.warm(address))

    async def _housekeeping(self) -> None:
        """Keep events, turns and sounds within their bounds."""
        while True:
            settings = self.engines.settings
            try:
                await self.events.prune(settings.keep_events_days, settings.keep_events)
                await prune_turns(self.database, settings.keep_events_days)
                await self.sounds.prune()
            except Exception:
                logger.exception("housekeeping failed; it is tried again later")
            await asyncio.sleep(HOUSEKEEPING_S)

    # --- settings ---

    def _settings_saved(self, settings: Settings, changed: tuple[str, ...]) -> None:
        """Called in the thread that saves."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._use, settings, changed)

    def _use(self, settings: Settings, changed: tuple[str, ...]) -> None:
        if any(name.startswith(ENGINE_SETTINGS) for name in changed):
            self.engines.rebuild(settings)
            self._keep(self._warm(), "warming engines")
        self.engines.settings = settings
        self._apply(settings)
        needs_restart = any(not is_live(name) for name in changed)
        self.bus.publish(
            ConfigChanged(
                names=tuple(name.upper() for name in changed), restart_needed=needs_restart
            )
        )

    def _apply(self, settings: Settings) -> None:
        """What takes effect at once."""
        logs.set_level(settings.log_level, debug=settings.debug)
        for secret in settings.secrets().values():
            logs.REDACTOR.add(secret)
        self.runner.budget_tokens = settings.context_tokens
        role = settings.llm_role("main")
        self.runner.reply_tokens = role.max_tokens
        self.runner.temperature = role.temperature
        self.monitor.interval_s = settings.metrics_interval_s
        self.monitor.gpu_interval_s = settings.gpu_metrics_interval_s
        self.player.set_volume(settings.output_volume, muted=settings.output_muted)
        wanted = _sink_name(settings)
        if self.player.sink.name != wanted:
            self._keep(self._change_sink(wanted), "changing the sound output")
        if self.player.device != settings.output_device:
            self._keep(self.player.set_device(settings.output_device), "changing the device")

    async def _change_sink(self, name: str) -> None:
        old = self.player.sink
        self.player.sink = self._sink(name)
        self.player.set_volume()
        await self.player.set_device(self.player.device)
        await old.close()
        self.player.sink.warm()

    def _sink(self, name: str) -> Sink:
        options = SpeakerOptions(convert=self._at_rate) if name == "speaker" else None
        return SINKS.create(name, options)

    async def _at_rate(self, audio: Audio, rate_hz: int) -> Audio:
        """Sound at the rate a device insists on, made in the engine's process."""
        pcm = await self.host.call(
            "backend.audio.resample:resample_pcm16", audio.pcm, audio.rate_hz, rate_hz
        )
        return Audio(pcm, rate_hz)

    # --- callbacks ---

    def _speech(self) -> SpeechEngine | None:
        return self.engines.speech if self.speaking.is_on else None

    def _voice_in_words(self) -> str:
        return " → ".join(self.engines.voices) or "no engine"

    def _hearing_in_words(self) -> str:
        return " → ".join(self.engines.recognisers) or "no engine"

    async def _keep_module(self, name: str, enabled: bool) -> None:
        await self.database.write(lambda c: module_rows.put(c, name, enabled), durable=True)

    async def _inspect_voice(self, path: Path) -> VoiceInfo:
        """Look at a Piper voice in the engine's process."""
        facts = await self.host.call(
            "backend.engines.tts.piper_host:inspect", str(path), timeout_s=INSPECT_S
        )
        return VoiceInfo(
            engine="piper",
            name=path.stem,
            title=facts.get("title") or path.stem,
            language=facts.get("language", ""),
            speakers=facts.get("speakers", 1),
            rate_hz=facts.get("rate_hz"),
            path=str(path),
            problem=facts.get("problem"),
        )

    def _tell_service(self, service: ServiceInfo) -> None:
        self.bus.publish(ServiceChanged(service=service))

    def _show_cue(self, cue: Cue, turn_id: str, conversation_id: str) -> None:
        if cue.kind != "expression" or not self.showing.is_on:
            return
        character_id = self.chat.active_character(conversation_id)
        try:
            self.avatar.show(
                character_id, cue.name, owner="chat", duration_ms=CUE_MS, turn_id=turn_id
            )
        except AppError as error:
            logger.debug("turn %s: %s", turn_id, error.message)


def _openai_key_for(url: str, settings: Settings) -> SecretStr | None:
    """OpenAI's own key, for the host that it is meant for: any other server would learn it."""
    try:
        is_same = origin_of(url) == origin_of(settings.openai_base_url)
    except ValueError:
        return None
    return settings.openai_api_key if is_same else None


def _engine_info(kind: str, name: str, trouble: str, problem: str, absent: str = "") -> ServiceInfo:
    """An engine as a row of the status page; one that only lacks a file is off, not broken."""
    what = problem or trouble
    if absent and not what:
        return ServiceInfo(
            name=f"{kind}/{name}",
            title=f"{ENGINE_TITLES[kind]}: {ENGINE_TITLES.get(name, name)}",
            kind="engine",
            state="off",
            detail="not set up; the next engine answers",
            fix=absent,
        )
    return ServiceInfo(
        name=f"{kind}/{name}",
        title=f"{ENGINE_TITLES[kind]}: {ENGINE_TITLES.get(name, name)}",
        kind="engine",
        state="failed" if problem else "degraded" if trouble else "ready",
        detail="" if what else "ready when it is asked",
        error=what,
        fix="The next engine answers meanwhile." if trouble and not problem else "",
    )


def _with_process(info: ServiceInfo, processes: dict[str, ServiceInfo]) -> ServiceInfo:
    """The row of an engine that has a process of its own, with how that is."""
    process = processes.get(info.name.partition("/")[2])
    if process is None or process.state == "off" or info.error:
        return info
    return info.model_copy(
        update={
            "state": process.state,
            "detail": process.detail,
            "error": process.error,
            "fix": process.fix,
        }
    )


def _aliases(words: tuple[str, ...]) -> dict[str, VoiceChoice]:
    """``name=engine:voice`` pairs as voices."""
    found: dict[str, VoiceChoice] = {}
    for word in words:
        name, _, target = word.partition("=")
        engine, _, voice = target.partition(":")
        if name and engine:
            found[name.strip()] = VoiceChoice(engine=engine.strip(), name=voice.strip())
    return found


def _sink_name(settings: Settings) -> str:
    return "speaker" if settings.audio_sink == "speaker" else "none"


def _guard_options(settings: Settings) -> guard.Options:
    return guard.Options(
        allowed_hosts=settings.allowed_hosts,
        origins=settings.cors_origins,
        max_body_bytes=settings.api_max_body_kb << 10,
        max_upload_bytes=settings.api_max_upload_mb << 20,
        max_sockets=settings.api_max_connections,
        max_sockets_per_client=settings.api_max_connections,
        requests_per_s=settings.api_requests_per_minute / 60,
    )


def create_app(loaded: LoadedSettings) -> FastAPI:
    """The backend as an ASGI application; its parts live from the first request's start-up to shut-down."""
    settings = loaded.settings
    data_dir = settings.data_dir

    def new_overlay_token() -> str:
        token = rotate_token(data_dir, "overlay_token")
        logs.REDACTOR.add(token)
        return token

    access = guard.Access(
        load_or_create_token(data_dir),
        load_or_create_token(data_dir, "overlay_token"),
        new_overlay_token,
    )

    for name in ("api_token", "overlay_token"):
        logs.REDACTOR.add(load_or_create_token(data_dir, name))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        backend = Backend(loaded, access)
        app.state.backend = backend
        app.state.services = Services(
            bus=backend.bus,
            database=backend.database,
            events=backend.events,
            characters=backend.characters,
            chat=backend.chat,
            avatar=backend.avatar,
            engines=backend.engines,
            player=backend.player,
            sounds=backend.sounds,
            config=backend.config,
            modules=backend.modules,
            monitor=backend.monitor,
            hearing=backend.hearing,
            downloads=backend.downloads,
            voices=backend.voices,
            host=backend.host,
            access=access,
        )
        try:
            await backend.start()
            yield
        finally:
            await backend.stop()

    app = FastAPI(title="Luma", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None)
    errors.install(app, debug=lambda: app.state.backend.engines.settings.debug)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(guard.Guard, access=access, options=_guard_options(settings))
    return app
