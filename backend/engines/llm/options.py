"""What each language model needs to know, made from plain values.

Importable without importing any plugin. `options_for` knows what is special about each provider; the values themselves
(keys, addresses, models) come from the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from backend.contracts.errors import EngineUnavailableError
from backend.core.http import HttpClient, Provider, Timeouts
from backend.engines.llm.base import LLM


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a reply is waited for, and how large it may be.

    Attributes:
        connect_s: Name lookup, connection and TLS.
        first_token_s: Until the first text or thought; keep-alives and empty pieces do not count.
        between_s: Between two of them.
        total_s: For the whole reply, counting only the waiting for the provider.
        chars_per_token: A reply with more letters than ``max_tokens`` times this ignores the bound and is cut.
    """

    connect_s: float = 5.0
    first_token_s: float = 20.0
    between_s: float = 10.0
    total_s: float = 180.0
    chars_per_token: int = 12

    @property
    def timeouts(self) -> Timeouts:
        """The same for the HTTP client; the waits between tokens are the engine's own."""
        return Timeouts(self.connect_s, self.first_token_s, self.total_s, self.total_s)

    def most_chars(self, max_tokens: int) -> int:
        """Letters after which a reply is cut."""
        return max(1000, max_tokens * self.chars_per_token)


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """Options of an engine that asks a server.

    Attributes:
        http: The client it asks with.
        provider: Who it is, for messages.
        base_url: Address without the last part (".../v1").
        model: Empty = the first one the server has.
        key: Empty = none is sent.
        needs_key: Whether it is of no use without one.
        headers: Further headers of every request.
        limits: Waits and sizes.
    """

    http: HttpClient
    provider: Provider
    base_url: str
    model: str = ""
    key: str = field(default="", repr=False)
    needs_key: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class EchoOptions:
    """Options of the engine that repeats what was said."""


@dataclass(frozen=True, slots=True)
class PersonaOptions:
    """Options of the built-in personalities.

    Attributes:
        seed: Makes their choices repeatable; None = by chance.
        max_conversations: How many conversations are remembered; the least recently used are forgotten.
        now: The local time they tell when asked; None = this machine's.
    """

    seed: int | None = None
    max_conversations: int = 256
    now: Callable[[], datetime] | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again before the first token, and when to leave an engine alone for a while.

    Attributes:
        retries: Further attempts per engine, for failures that may pass.
        base_s: First wait; doubles each time, with a random part of up to the same length taken off.
        cap_s: Longest wait; a provider that asks for more is left for the next engine.
        key_pause_s: How long an engine without a working key or credit is skipped.
        rate_pause_s: The same after too many requests, when it does not say itself.
        down_pause_s: The same after ``down_after`` failed turns in a row.
        down_after: Failed turns in a row after which it counts as down.
    """

    retries: int = 2
    base_s: float = 0.4
    cap_s: float = 5.0
    key_pause_s: float = 300.0
    rate_pause_s: float = 15.0
    down_pause_s: float = 30.0
    down_after: int = 2


OnRetry = Callable[[str, str, str, str, float], None]
"""Called with engine, next engine (the same when it is tried again), kind, reason and seconds of waiting."""


def ignore_retry(engine: str, next_engine: str, kind: str, reason: str, wait_s: float) -> None:
    """Tell nobody."""
    del engine, next_engine, kind, reason, wait_s


@dataclass(frozen=True, slots=True)
class FallbackOptions:
    """Options of the engine that tries others in order.

    Attributes:
        engines: In the order they are tried; at least one.
        retry: When to try again.
        on_retry: Told about every retry and switch.
    """

    engines: Sequence[LLM]
    retry: RetryPolicy = RetryPolicy()
    on_retry: OnRetry = ignore_retry


@dataclass(frozen=True, slots=True)
class ProviderValues:
    """What the operator has set for one provider, empty = its default; and where, when not in the provider's own settings."""

    key: str = field(default="", repr=False)
    url: str = ""
    model: str = ""
    key_setting: str = ""
    url_setting: str = ""
    model_setting: str = ""


@dataclass(frozen=True, slots=True)
class _Preset:
    title: str
    settings: str
    url: str = ""
    url_setting: str = ""
    model: str = ""
    needs_key: bool = True
    headers: tuple[tuple[str, str], ...] = ()

    def provider(self, name: str, values: ProviderValues) -> Provider:
        prefix, key = self.settings, values.key.strip()
        own_key = f"{prefix}_{'API_KEY' if self.needs_key else 'KEY'}"
        own_model = "LLM_MODEL" if name == "llamacpp" else f"{prefix}_MODEL"
        return Provider(
            name,
            self.title,
            key_setting=values.key_setting or ("" if name in _KEYLESS else own_key),
            url_setting=values.url_setting or self.url_setting or f"{prefix}_URL",
            model_setting=values.model_setting or own_model,
            secrets=(key,) if key else (),
        )


LOCAL = ("ollama", "llamacpp", "lmstudio")
"""Servers that people run on their own machine."""

_KEYLESS = frozenset(LOCAL)

_PRESETS: Mapping[str, _Preset] = {
    "openrouter": _Preset(
        "OpenRouter",
        "OPENROUTER",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_BASE_URL",
        "openrouter/auto",
        # OpenRouter lists applications by these two; neither says anything about the user.
        headers=(("http-referer", "http://localhost"), ("x-title", "Luma")),
    ),
    "openai": _Preset(
        "OpenAI", "OPENAI", "https://api.openai.com/v1", "OPENAI_BASE_URL", "gpt-4o-mini"
    ),
    "anthropic": _Preset(
        "Anthropic",
        "ANTHROPIC",
        "https://api.anthropic.com/v1",
        "ANTHROPIC_BASE_URL",
        "claude-3-5-haiku-latest",
        headers=(("anthropic-version", "2023-06-01"),),
    ),
    "openai_compatible": _Preset("The LLM server", "OPENAI_COMPATIBLE", needs_key=False),
    "ollama": _Preset("Ollama", "OLLAMA", "http://127.0.0.1:11434/v1", needs_key=False),
    "llamacpp": _Preset("llama.cpp", "LLAMACPP", "http://127.0.0.1:8080/v1", needs_key=False),
    "lmstudio": _Preset("LM Studio", "LMSTUDIO", "http://127.0.0.1:1234/v1", needs_key=False),
}

REMOTE: tuple[str, ...] = tuple(_PRESETS)
"""Providers that are asked over HTTP, in the order in which "auto" takes the first that is configured."""


def options_for(
    name: str, values: ProviderValues, http: HttpClient, limits: Limits = Limits()
) -> RemoteOptions:
    """Options of the provider called ``name``; its address becomes one that ``http`` may reach.

    Raises:
        EngineUnavailableError: If it has no usable address; the message names the setting.
    """
    preset = _PRESETS[name]
    provider = preset.provider(name, values)
    url = values.url or preset.url
    if not url:
        raise EngineUnavailableError(
            f"{preset.title} has no address: set {provider.url_setting} in .env or in Settings"
            " (http://127.0.0.1:8000/v1, for example)."
        )
    base_url = normal_base_url(url)
    try:
        http.trust(base_url)
    except EngineUnavailableError as error:
        raise EngineUnavailableError(f"{provider.url_setting}: {error.message}") from error
    return RemoteOptions(
        http=http,
        provider=provider,
        base_url=base_url,
        model=values.model or preset.model,
        key=values.key.strip(),
        needs_key=preset.needs_key,
        headers=preset.headers,
        limits=limits,
    )


def is_configured(name: str, values: ProviderValues) -> bool:
    """Whether the operator has set enough to use ``name``: its key, or for keyless servers an address or a model."""
    preset = _PRESETS.get(name)
    if preset is None:
        return False
    if preset.needs_key:
        return bool(values.key)
    if values.model:
        return True
    return bool(values.url) and normal_base_url(values.url) != preset.url


def first_configured(values: Mapping[str, ProviderValues]) -> str:
    """What "auto" means: the first configured provider in the order of `REMOTE`, else "persona"."""
    for name in REMOTE:
        if name in values and is_configured(name, values[name]):
            return name
    return "persona"


def normal_base_url(url: str) -> str:
    """The address as the engines want it, from the ways people write it: without a path, with a slash, or whole."""
    url = url.strip().rstrip("/")
    for end in ("/chat/completions", "/completions", "/messages", "/models"):
        url = url.removesuffix(end)
    if "://" in url and urlsplit(url).path in ("", "/"):
        url += "/v1"
    return url
