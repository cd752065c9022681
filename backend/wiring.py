"""From settings to engines: language models, voices and recognisers as the settings want them now.

The one place that knows which setting becomes which option of which plugin. Built at start and again whenever one of
`ENGINE_SETTINGS` changes; a running turn ends with the engines it began with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from pydantic import SecretStr

from backend.contracts.entities import ServiceInfo, VoiceChoice
from backend.contracts.errors import AppError, EngineUnavailableError
from backend.contracts.events import AnyEvent, ErrorOccurred, TurnRetried
from backend.contracts.modes import ModeName
from backend.core.addresses import origin_of
from backend.core.bus import EventBus
from backend.core.context import checkup_notes, current_turn
from backend.core.http import HttpClient
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
from backend.modes import ADAPTERS
from backend.modes import options as mode_options
from backend.modes.base import BackendAdapter, Body
from config import Settings, is_loopback

logger = logging.getLogger(__name__)

MIND_SETTINGS = ("llm_", "external_api_", *llm_options.REMOTE)
"""Settings that begin like this are built into the language models."""

ENGINE_SETTINGS = (*MIND_SETTINGS, "tts_", "stt_", "piper_", "whisper_", "voice_")
"""Settings that begin like this are built into the engines."""

MODE_SETTINGS: dict[ModeName, tuple[str, ...]] = {
    "orphiq": ("orphiq_",),
    "autonomous": ("autonomous_", "llm_first_token_", "llm_token_", *llm_options.LOCAL),
}
"""Settings of a mode's adapter by how they begin; external-api reads the engines."""

NO_PROVIDER = (
    "No provider of language models is set up. Choose one in Settings (LLM_PROVIDER, or EXTERNAL_API_PROVIDER and"
    " EXTERNAL_API_KEY)."
)

UNUSABLE = ("off", "failed")
"""States of an engine that answers nothing."""

MODULE_ENGINES = {"hear": "stt", "speak": "tts"}
"""Modules that can do nothing without an engine of a kind."""

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
    "faster_whisper": "faster-whisper",
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
        self.persona: LLM = LLMS.create("persona", llm_options.PersonaOptions())
        """One for all, so that what people told it outlives a change of settings or of mode."""
        self.minds: list[str] = []
        """Language models of the main role, in the order they are asked; the persona last, as the mode after them."""
        self.no_provider = ""
        """Why no provider of language models answers, and what to do; empty = one does."""
        self._roles: dict[str, LLM] = {}
        self.addresses: list[str] = []
        """Of providers, in the order they are asked; a connection to the first is opened ahead of the first turn."""
        self.llm: LLM = self._language_model("main")
        """Of the mode external-api; the persona where no provider is set up."""
        self.voices: dict[str, TTS] = {}
        self.speech: TTS = self._speech()
        self.recognisers: dict[str, STT] = {}
        self.hearing: STT = self._hearing()

    def rebuild(self, settings: Settings) -> None:
        """Use other settings from the next turn on; a running turn ends with the engines it began with."""
        self.settings = settings
        self.problems = {}
        self._roles = {}
        self.addresses = []
        self.llm = self._language_model("main")
        self.speech = self._speech()
        self.hearing = self._hearing()

    def role(self, role: str) -> LLM:
        """The language model of a role ("memory", "vision", "internet", "autonomy", "moderation"); main's unless set apart."""
        known = self._roles.get(role)
        if known is None:
            known = self._roles[role] = self._language_model(role)
        return known

    def provider_in_words(self) -> str:
        """Who is asked first of the providers ("openrouter, model x")."""
        model = self.llm.model
        return self.minds[0] + (f", model {model}" if model else "")

    def adapter(self, mode: ModeName, body: Body) -> BackendAdapter:
        """Who answers in a mode, as the settings want it now."""
        settings = self.settings
        options: object
        if mode == "autonomous":
            options = mode_options.AutonomousOptions(
                persona=self.persona,
                local=self._local_models() if settings.autonomous_local_llm else (),
                body=body,
                personality=settings.autonomous_personality,
                triggers=frozenset(settings.autonomous_triggers),
                cache_replies=settings.autonomous_cache_replies,
                on_retry=self.tell_retry,
            )
        elif mode == "external-api":
            options = mode_options.ExternalApiOptions(
                llm=lambda: self.llm,
                who=self.provider_in_words,
                problem=lambda: self.no_provider,
                setting=lambda: (
                    "EXTERNAL_API_PROVIDER" if self.settings.external_provider else "LLM_PROVIDER"
                ),
                body=body,
            )
        else:
            token = settings.orphiq_token
            options = mode_options.OrphiqOptions(
                url=settings.orphiq_websocket_url.strip(),
                body=body,
                token=token.get_secret_value() if token is not None else "",
                connect_s=settings.orphiq_connect_timeout_s,
                first_s=settings.orphiq_first_timeout_s,
                between_s=settings.orphiq_sentence_timeout_s,
            )
        return ADAPTERS.create(mode, options)

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
        return [_with_process(info, processes) for info in _nobody_else(found)]

    @staticmethod
    def seen_in(modules: list[ServiceInfo], engines: list[ServiceInfo]) -> list[ServiceInfo]:
        """The rows of modules, where one whose engines are all unusable says so: alone it knows only its device."""
        found = []
        for module in modules:
            kind = MODULE_ENGINES.get(module.name, "")
            own = [row for row in engines if row.name.partition("/")[0] == kind]
            is_lost = bool(own) and all(row.state in UNUSABLE for row in own)
            if is_lost and module.state == "ready":
                trouble = {"state": "degraded", "error": own[0].error, "fix": own[0].fix}
                module = module.model_copy(update=trouble)
            found.append(module)
        return found

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
        if name := settings.external_provider:
            own = values[name]
            endpoint = settings.external_api_endpoint
            # A provider's own key is for its own host: any other server would learn it.
            is_own_host = not endpoint or _is_same_host(endpoint, own.url)
            key = secret("external_api_key")
            values[name] = llm_options.ProviderValues(
                key=key or (own.key if is_own_host else ""),
                url=endpoint or own.url,
                model=settings.external_api_model or own.model,
                # What fails says which setting to correct: the one that counts here.
                key_setting="EXTERNAL_API_KEY" if key or not is_own_host else "",
                url_setting="EXTERNAL_API_ENDPOINT" if endpoint else "",
                model_setting="EXTERNAL_API_MODEL" if settings.external_api_model else "",
            )
        return values

    def _local_models(self) -> list[LLM]:
        """Language models on this machine, whether they run or not."""
        values = self._provider_values()
        found: list[LLM] = []
        for name in llm_options.LOCAL:
            if not is_loopback(urlsplit(values[name].url).hostname or ""):
                continue  # on another machine it is a provider like any other
            try:
                found.append(LLMS.create(name, self._options_of(name, values[name])))
            except AppError as error:
                logger.debug("%s is no local model: %s", name, error.message)
        return found

    def _options_of(
        self, name: str, value: llm_options.ProviderValues
    ) -> llm_options.RemoteOptions:
        limits = llm_options.Limits(
            first_token_s=self.settings.llm_first_token_timeout_s,
            between_s=self.settings.llm_token_timeout_s,
        )
        return llm_options.options_for(name, value, self._http, limits)

    def _language_model(self, role: str) -> LLM:
        settings = self.settings
        wanted = settings.llm_role(role)
        values = self._provider_values()
        names: list[str] = []
        for name in (wanted.provider, *settings.llm_fallbacks, "persona"):
            actual = llm_options.first_configured(values) if name == "auto" else name
            if actual not in names:
                names.append(actual)
        engines: list[LLM] = []
        if role == "main":
            self.minds = names
            # Where the persona comes, the providers end: it is the next mode, which then says that it answers.
            names = [*takewhile(lambda name: name != "persona", names)]
            is_empty = not names
        for name in names:
            try:
                engines.append(self._one_model(name, values, wanted.model if not engines else ""))
            except AppError as error:
                self.problems[f"llm/{name}"] = error.message
                logger.warning("%s is left out: %s", name, error.message)
        if role == "main":
            self.no_provider = ""
            if not engines:
                self.no_provider = NO_PROVIDER if is_empty else self.problems[f"llm/{names[0]}"]
                engines = [self.persona]
        return LLMS.create(
            "fallback",
            llm_options.FallbackOptions(
                engines=engines,
                retry=llm_options.RetryPolicy(retries=settings.llm_retries),
                on_retry=self.tell_retry,
            ),
        )

    def _one_model(
        self,
        name: str,
        values: dict[str, llm_options.ProviderValues],
        model: str,
    ) -> LLM:
        if name == "persona":
            return self.persona
        if name == "echo":
            return LLMS.create(name, llm_options.EchoOptions())
        value = values[name]
        if model:
            value = replace(value, model=model)
        options = self._options_of(name, value)
        self.addresses.append(options.base_url)
        return LLMS.create(name, options)

    def tell_retry(
        self, engine: str, next_engine: str, kind: str, reason: str, wait_s: float
    ) -> None:
        """Say that one failed and who is asked next, as an event of the turn it happens in."""
        if (notes := checkup_notes.get()) is not None:
            notes.append(reason)
            return
        turn = current_turn.get()
        self._publish(
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

    def _publish(self, event: AnyEvent) -> None:
        """Tell it now, or when the reply that is thought ahead is taken."""
        turn = current_turn.get()
        if turn is not None and turn.held is not None:
            turn.held.append(event)
        else:
            self._bus.publish(event)

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
        if (notes := checkup_notes.get()) is not None:
            notes.append(error.message)
            return
        turn = current_turn.get()
        self._publish(
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
        elif name == "faster_whisper":
            options = stt_options.FasterWhisperOptions(
                host=self._host,
                folder=settings.models_dir / "faster-whisper",
                whisper_folder=settings.models_dir / "whisper",
                model=settings.whisper_model,
                language=settings.stt_language,
                window_s=settings.whisper_window_s,
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


def _is_same_host(one: str, other: str) -> bool:
    try:
        return origin_of(one) == origin_of(other)
    except ValueError:
        return False


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


def _nobody_else(rows: list[ServiceInfo]) -> list[ServiceInfo]:
    """The rows, where one that lacks a file is broken when no engine of its kind is left to answer."""
    left = {row.name.partition("/")[0] for row in rows if row.state not in UNUSABLE}
    return [
        row.model_copy(
            update={
                "state": "failed",
                "detail": "nothing answers instead",
                "error": row.fix,
                "fix": "",
            }
        )
        if row.state == "off" and row.name.partition("/")[0] not in left
        else row
        for row in rows
    ]


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
