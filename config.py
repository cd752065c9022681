"""Every setting of the program: its name, default, range and meaning, and where its value comes from.

The only module that reads the environment or ``.env``. Everything else is handed values. Precedence: command line,
environment, ``.env``, keys typed in the window, ``<data-dir>/settings.yaml``, default. `Settings` itself reads nothing:
``Settings(api_port=0)`` is those values and defaults, wherever it runs; `load_settings` looks around.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from config_secrets import SecretStore

ROOT = Path(__file__).resolve().parent
VERSION = "0.1.0"
DEFAULT_PORT = 8765

LLM_PROVIDERS = (
    "auto",
    "persona",
    "openrouter",
    "openai",
    "anthropic",
    "ollama",
    "llamacpp",
    "lmstudio",
    "openai_compatible",
    "echo",
)
EXTERNAL_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "openrouter": "openrouter",
    "custom": "openai_compatible",
}
"""Values of EXTERNAL_API_PROVIDER, and the language model each means."""
AUTONOMOUS_TRIGGERS = ("idle", "time", "viewers", "chat")
TTS_ENGINES = ("piper", "openai_compatible", "embedded", "tone")
STT_ENGINES = ("faster_whisper", "whisper", "openai_compatible", "sphinx", "script")
MODULES = ("hear", "speak", "see", "memory", "avatar", "twitch", "autonomy")
ROLES = ("main", "memory", "vision", "internet", "autonomy", "moderation")


DATABASE_PASSWORD = re.compile(
    r"(://[^/@:?#]*:(?=.+@)|[?&](?:password|passwd|pwd|sslpassword)=)(.+(?=@)|[^&#]+)",
    re.IGNORECASE,
)
"""Group 2 is the password in a SQLAlchemy URL; up to the last @, because SQLAlchemy allows a slash in it."""


def split_words(value: object) -> object:
    """A list as people write it in ``.env``: ``a, b`` or ``["a", "b"]``."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError("this starts like a JSON list but is none") from None
    return [word.strip() for word in text.split(",") if word.strip()]


def zone_of(name: str) -> ZoneInfo | None:
    """A time zone by its name; None for this machine's own, and for one that nobody knows."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_words)]
Secret = SecretStr | None
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
AudioSink = Literal["speaker", "overlay", "none"]
TrainingOnClose = Literal["keep", "stop"]
ListeningMode = Literal["off", "push_to_talk", "open"]
VadName = Literal["silero", "energy"]
BackendMode = Literal["auto", "orphiq", "external-api", "autonomous"]
EchoGuard = Literal["guard", "strict", "headphones"]


def setting(
    default: Any,
    meaning: str,
    *,
    live: bool = False,
    choices: tuple[str, ...] = (),
    **limits: Any,
) -> Any:
    """A setting.

    Args:
        default: Its value when nobody sets it.
        meaning: One line, for ``.env.example``, the window and the docs.
        live: Whether a change takes effect while the program runs.
        choices: The only words it (or each entry of a list) may be.
        limits: ``ge``, ``gt``, ``le`` … as pydantic knows them.
    """
    extra: dict[str, Any] = {"live": live, "choices": list(choices)}
    return Field(default, description=meaning, json_schema_extra=extra, **limits)


@dataclass(frozen=True, slots=True)
class LlmRole:
    """Who thinks for one role, after falling back to main.

    Attributes:
        role: "main", "memory", "vision", "internet", "autonomy" or "moderation".
        provider: Registry name of the engine.
        model: Its model; empty when the engine has none or picks one itself.
        temperature: 0-2.
        max_tokens: Longest reply, in tokens.
        detail: The settings that decided, for traces ("LLM_PROVIDER=openrouter, model x").
    """

    role: str
    provider: str
    model: str
    temperature: float
    max_tokens: int
    detail: str


class Settings(BaseSettings):
    """All settings; the name of the environment variable is the upper-case field name."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

    # Server
    api_host: str = setting("127.0.0.1", "Address the backend listens on.")
    api_port: int = setting(
        DEFAULT_PORT, "Port of the backend; 0 picks a free one.", ge=0, le=65535
    )
    api_allow_remote: bool = setting(
        False, "Allow API_HOST to be an address that other machines can reach."
    )
    tls_cert: Path | None = setting(None, "Certificate (PEM) for HTTPS; with TLS_KEY.")
    tls_key: Path | None = setting(None, "Private key (PEM) for HTTPS; with TLS_CERT.")
    allowed_hosts: Words = setting(
        (), "More Host names that are answered besides 127.0.0.1, localhost and [::1]."
    )
    cors_origins: Words = setting(
        (), "Web origins (https://example.org) that may call the API; never *."
    )
    compatible_clients: bool = setting(
        False,
        "Let Open-LLM-VTuber clients on this machine talk at /client-ws without the token; list their page's origin in CORS_ORIGINS.",
        live=True,
    )
    api_max_body_kb: int = setting(1024, "Largest JSON request, in KiB.", ge=16, le=65536)
    api_max_upload_mb: int = setting(200, "Largest uploaded file, in MiB.", ge=1, le=4096)
    voice_upload_mb: int = setting(
        4096, "Largest upload of recordings for a voice, in MiB.", ge=1, le=65536
    )
    api_max_connections: int = setting(200, "Sockets open at once.", ge=4, le=10000)
    api_requests_per_minute: int = setting(
        6000, "Requests a client may send in a minute.", ge=60, le=1_000_000
    )

    # Storage
    data_dir: Path = setting(ROOT / "data", "Folder of the database, sounds, settings and token.")
    models_dir: Path = setting(ROOT / "models", "Folder of voices and weights.")
    database_url: str = setting("", "SQLAlchemy URL; empty = SQLite in the data folder.")
    keep_events: int = setting(
        200_000, "Stored events that are kept; older ones go.", ge=1000, le=100_000_000
    )
    keep_events_days: int = setting(90, "Days that stored events are kept.", ge=1, le=36500)
    keep_messages: int = setting(
        200_000,
        "Messages of viewers that are kept, with what became of each; older ones go.",
        ge=1000,
        le=100_000_000,
    )
    keep_messages_days: int = setting(30, "Days that messages of viewers are kept.", ge=1, le=36500)
    keep_audio_mb: int = setting(
        500, "Room for the sounds of past turns, in MiB.", ge=1, le=1_000_000
    )
    keep_audio_days: int = setting(30, "Days that sounds of past turns are kept.", ge=1, le=36500)
    keep_backups: int = setting(3, "Copies of the database kept before migrations.", ge=1, le=100)
    tts_cache_mb: int = setting(
        200, "Room for sentences spoken before, in MiB; 0 = none.", ge=0, le=1_000_000
    )

    # Logging
    debug: bool = setting(False, "Verbose logs, and tracebacks for the operator.", live=True)
    log_level: LogLevel = setting("INFO", "Least important lines that are logged.", live=True)
    logs_dir: Path = setting(ROOT / "logs", "Folder of the log files.")
    log_file: str = setting("luma.jsonl", "Log file, in LOGS_DIR unless absolute; none = no file.")
    log_file_mb: float = setting(
        10.0, "Size at which a new log file begins, in MiB.", gt=0, le=1000
    )
    log_file_backups: int = setting(5, "Old log files that are kept.", ge=0, le=100)

    # Thinking
    llm_provider: str = setting(
        "auto",
        "Engine that answers; auto = the first one with a key or an address, else persona.",
        live=True,
        choices=LLM_PROVIDERS,
    )
    llm_model: str = setting("", "Its model; empty = the provider's own setting.", live=True)
    llm_temperature: float = setting(0.8, "0 sober to 2 wild.", live=True, ge=0, le=2)
    llm_max_tokens: int = setting(512, "Longest reply, in tokens.", live=True, ge=1, le=32768)
    llm_fallbacks: Words = setting(
        ("persona",), "Engines tried next, in order.", live=True, choices=LLM_PROVIDERS
    )
    llm_first_token_timeout_s: float = setting(
        20.0, "Longest wait for the first token.", live=True, gt=0, le=600
    )
    llm_token_timeout_s: float = setting(
        10.0, "Longest wait between two tokens.", live=True, gt=0, le=600
    )
    llm_retries: int = setting(
        2, "Attempts after a failure before the first token.", live=True, ge=0, le=10
    )
    context_tokens: int = setting(
        4096, "Prompt budget, in tokens.", live=True, ge=256, le=1_000_000
    )
    user_name: str = setting("you", "What the character calls you.", live=True, max_length=100)
    llm_memory_provider: str = setting(
        "", "Engine for memory; empty = main.", live=True, choices=LLM_PROVIDERS
    )
    llm_memory_model: str = setting("", "Its model; empty = main's.", live=True)
    llm_memory_temperature: float | None = setting(
        None, "Its temperature; empty = main's.", live=True, ge=0, le=2
    )
    llm_memory_max_tokens: int | None = setting(
        None, "Its longest reply; empty = main's.", live=True, ge=1, le=32768
    )
    llm_vision_provider: str = setting(
        "", "Engine for pictures; empty = main.", live=True, choices=LLM_PROVIDERS
    )
    llm_vision_model: str = setting("", "Its model; empty = main's.", live=True)
    llm_vision_temperature: float | None = setting(
        None, "Its temperature; empty = main's.", live=True, ge=0, le=2
    )
    llm_vision_max_tokens: int | None = setting(
        None, "Its longest reply; empty = main's.", live=True, ge=1, le=32768
    )
    llm_internet_provider: str = setting(
        "", "Engine for reading the web; empty = main.", live=True, choices=LLM_PROVIDERS
    )
    llm_internet_model: str = setting("", "Its model; empty = main's.", live=True)
    llm_internet_temperature: float | None = setting(
        None, "Its temperature; empty = main's.", live=True, ge=0, le=2
    )
    llm_internet_max_tokens: int | None = setting(
        None, "Its longest reply; empty = main's.", live=True, ge=1, le=32768
    )
    llm_autonomy_provider: str = setting(
        "", "Engine for speaking unasked; empty = main.", live=True, choices=LLM_PROVIDERS
    )
    llm_autonomy_model: str = setting("", "Its model; empty = main's.", live=True)
    llm_autonomy_temperature: float | None = setting(
        None, "Its temperature; empty = main's.", live=True, ge=0, le=2
    )
    llm_autonomy_max_tokens: int | None = setting(
        None, "Its longest reply; empty = main's.", live=True, ge=1, le=32768
    )
    llm_moderation_provider: str = setting(
        "", "Engine for moderation; empty = main.", live=True, choices=LLM_PROVIDERS
    )
    llm_moderation_model: str = setting("", "Its model; empty = main's.", live=True)
    llm_moderation_temperature: float | None = setting(
        None, "Its temperature; empty = main's.", live=True, ge=0, le=2
    )
    llm_moderation_max_tokens: int | None = setting(
        None, "Its longest reply; empty = main's.", live=True, ge=1, le=32768
    )

    # Providers
    openrouter_api_key: Secret = setting(None, "Key of OpenRouter.", live=True)
    openrouter_model: str = setting("openrouter/auto", "Model at OpenRouter.", live=True)
    openrouter_base_url: str = setting(
        "https://openrouter.ai/api/v1", "Address of OpenRouter.", live=True
    )
    openai_api_key: Secret = setting(None, "Key of OpenAI.", live=True)
    openai_model: str = setting("gpt-4o-mini", "Model at OpenAI.", live=True)
    openai_base_url: str = setting("https://api.openai.com/v1", "Address of OpenAI.", live=True)
    anthropic_api_key: Secret = setting(None, "Key of Anthropic.", live=True)
    anthropic_model: str = setting("claude-3-5-haiku-latest", "Model at Anthropic.", live=True)
    anthropic_base_url: str = setting(
        "https://api.anthropic.com", "Address of Anthropic.", live=True
    )
    ollama_url: str = setting("http://127.0.0.1:11434/v1", "Address of Ollama.", live=True)
    ollama_model: str = setting("", "Model in Ollama; empty = the first it has.", live=True)
    llamacpp_url: str = setting(
        "http://127.0.0.1:8080/v1", "Address of a llama.cpp server.", live=True
    )
    lmstudio_url: str = setting("http://127.0.0.1:1234/v1", "Address of LM Studio.", live=True)
    lmstudio_model: str = setting("", "Model in LM Studio; empty = the loaded one.", live=True)
    openai_compatible_url: str = setting(
        "", "Address of any other server with OpenAI's protocol (ends in /v1).", live=True
    )
    openai_compatible_key: Secret = setting(None, "Its key, when it wants one.", live=True)
    openai_compatible_model: str = setting("", "Its model; empty = the first it has.", live=True)

    # Modes
    backend_mode: BackendMode = setting(
        "auto",
        "Who answers: a compatible server, a provider, or nobody else; auto = the provider when one is set up.",
        live=True,
    )
    orphiq_websocket_url: str = setting(
        "",
        "Address of a running Open-LLM-VTuber server, for the mode orphiq (ws://127.0.0.1:12393/client-ws).",
        live=True,
        max_length=500,
    )
    orphiq_token: Secret = setting(
        None,
        "Its token, when it wants one, as another Luma does; never one of the keys above.",
        live=True,
    )
    orphiq_connect_timeout_s: float = setting(
        5.0, "Longest wait for its connection and greeting.", live=True, gt=0, le=60
    )
    orphiq_first_timeout_s: float = setting(
        20.0, "Longest wait for the first sentence of its reply.", live=True, gt=0, le=600
    )
    orphiq_sentence_timeout_s: float = setting(
        20.0, "Longest wait between two of its sentences.", live=True, gt=0, le=600
    )
    external_api_provider: str = setting(
        "",
        "Provider of the mode external-api; empty = LLM_PROVIDER decides.",
        live=True,
        choices=tuple(EXTERNAL_PROVIDERS),
    )
    external_api_key: Secret = setting(
        None, "Its key; empty = the provider's own (OPENAI_API_KEY …).", live=True
    )
    external_api_endpoint: str = setting(
        "",
        "Its address; empty = the provider's own (OPENAI_BASE_URL …). Without a provider: a custom one.",
        live=True,
    )
    external_api_model: str = setting("", "Its model; empty = the provider's own.", live=True)
    autonomous_local_llm: bool = setting(
        True,
        "In the mode autonomous, let Ollama, llama.cpp or LM Studio on this machine answer when one is there.",
        live=True,
    )
    autonomous_personality: str = setting(
        "",
        "How she is in the mode autonomous: traits (playful, sweet) or a built-in manner; empty = as the character is.",
        live=True,
        max_length=200,
    )
    autonomous_triggers: Words = setting(
        AUTONOMOUS_TRIGGERS,
        "What may make her speak unasked in the mode autonomous: idle = silence, time, viewers, chat. The module autonomy decides.",
        live=True,
        choices=AUTONOMOUS_TRIGGERS,
    )
    autonomous_cache_replies: int = setting(
        256,
        "Prompts whose replies by a language model are kept in the mode autonomous; 0 = none.",
        live=True,
        ge=0,
        le=100_000,
    )

    text_requests_per_minute: int = setting(
        30, "Texts on demand that may be asked for in a minute.", live=True, ge=1, le=10_000
    )

    # Autonomy
    autonomy_gap_s: float = setting(
        45.0,
        "Seconds between two things she says unasked; her mood makes it half or twice as long.",
        live=True,
        ge=0,
        le=86_400,
    )
    autonomy_share: float = setting(
        0.25,
        "While viewers wait for answers: things she says unasked for each answer.",
        live=True,
        ge=0,
        le=1,
    )
    autonomy_texts_per_minute: int = setting(
        6, "Texts that a language model writes for her in a minute.", live=True, ge=1, le=1000
    )
    autonomy_timezone: str = setting(
        "",
        "Zone of times of day and quiet hours (Europe/Berlin); empty = this computer's.",
        live=True,
        max_length=64,
    )

    # Speaking
    tts_chain: Words = setting(
        ("piper", "embedded"),
        "Speech engines, in the order they are tried; then silence.",
        live=True,
        choices=TTS_ENGINES,
    )
    tts_timeout_s: float = setting(
        5.0, "Longest wait for one sentence's sound.", live=True, gt=0, le=60
    )
    voice_aliases: Words = setting(
        (), "Other names of voices: alias=engine:voice, alias=engine:voice.", live=True
    )
    piper_model_path: Path | None = setting(
        None, "Default Piper voice (.onnx); empty = the first in models/piper.", live=True
    )
    piper_length_scale: float | None = setting(
        None,
        "Slowness of Piper, 2 is half speed; empty = what the voice says.",
        live=True,
        ge=0.25,
        le=4,
    )
    piper_noise_scale: float | None = setting(
        None, "Variation of Piper's sound; empty = what the voice says.", live=True, ge=0, le=2
    )
    piper_noise_w: float | None = setting(
        None, "Variation of Piper's rhythm; empty = what the voice says.", live=True, ge=0, le=2
    )
    tts_openai_url: str = setting(
        "",
        "Address of a server with OpenAI's /audio/speech (ends in /v1); empty = OPENAI_BASE_URL.",
        live=True,
    )
    tts_openai_key: Secret = setting(
        None, "Its key; empty = OPENAI_API_KEY if it is OPENAI_BASE_URL's host.", live=True
    )
    tts_openai_model: str = setting("tts-1", "Its model.", live=True)
    tts_openai_voice: str = setting("alloy", "Its voice.", live=True)
    audio_sink: AudioSink = setting(
        "speaker",
        "Where the stage is heard: this computer's loudspeaker, the overlay pages, or nowhere.",
        live=True,
    )
    output_device: str = setting("", "Name of the output device; empty = the system's.", live=True)
    output_volume: float = setting(1.0, "Volume of the stage, 0 to 1.", live=True, ge=0, le=1)
    output_muted: bool = setting(False, "Whether the stage is mute.", live=True)

    # Hearing
    stt_chain: Words = setting(
        ("faster_whisper", "whisper", "sphinx"),
        "Recognisers, in the order they are tried.",
        live=True,
        choices=STT_ENGINES,
    )
    stt_timeout_s: float = setting(
        60.0, "Longest wait for one transcript.", live=True, gt=0, le=3600
    )
    stt_language: str = setting(
        "", "Language to expect (en, ja, de …); empty = detect.", live=True, max_length=8
    )
    whisper_model: str = setting(
        "base",
        "Whisper model by name, or path of a .pt file (faster-whisper: or of a model's folder).",
        live=True,
    )
    whisper_window_s: int = setting(
        30,
        "Sound that faster-whisper looks at, in s: 30 = as trained; less is faster and misreads more.",
        live=True,
        ge=5,
        le=30,
    )
    stt_openai_url: str = setting(
        "",
        "Address of a server with OpenAI's /audio/transcriptions; empty = OPENAI_BASE_URL.",
        live=True,
    )
    stt_openai_key: Secret = setting(
        None, "Its key; empty = OPENAI_API_KEY if it is OPENAI_BASE_URL's host.", live=True
    )
    stt_openai_model: str = setting("whisper-1", "Its model.", live=True)
    sample_rate: int = setting(
        16000, "Rate of microphone sound inside Luma, in Hz.", ge=8000, le=48000
    )
    channels: int = setting(1, "Channels of microphone sound inside Luma.", ge=1, le=2)

    asr_mode: ListeningMode = setting(
        "off", "Microphone: off, push_to_talk or open (heard whenever somebody speaks).", live=True
    )
    asr_input_device: str = setting(
        "", "Name of the microphone; empty = the system's.", live=True, max_length=200
    )
    asr_gain_db: float = setting(
        0.0, "Added to what the microphone gives, in dB.", live=True, ge=-30, le=40
    )
    asr_muted: bool = setting(False, "Whether the microphone is muted.", live=True)
    asr_frame_ms: int = setting(32, "Sound handed on at a time, in ms.", live=True, ge=10, le=200)
    asr_vad: VadName = setting("silero", "Voice detector; energy needs no library.", live=True)
    asr_vad_threshold: float = setting(
        0.5, "Probability from which sound counts as speech, 0 to 1.", live=True, gt=0, lt=1
    )
    asr_preroll_ms: int = setting(
        400, "Sound kept from before speech was noticed, in ms.", live=True, ge=0, le=3000
    )
    asr_min_speech_ms: int = setting(
        200, "Shorter sounds are no speech, in ms.", live=True, ge=0, le=5000
    )
    asr_silence_ms: int = setting(
        600,
        "Silence that ends an utterance, in ms; shorter after a finished sentence, longer after a hanging one.",
        live=True,
        ge=100,
        le=10_000,
    )
    asr_max_utterance_s: float = setting(
        30.0, "Longest utterance; then it is read and a new one begins.", live=True, ge=2, le=600
    )
    asr_partials: bool = setting(
        True, "Read along while somebody speaks, where the recogniser is fast enough.", live=True
    )
    asr_guard: EchoGuard = setting(
        "guard",
        "While she speaks: guard = only sound that is not hers counts, strict = nothing counts, headphones = all counts.",
        live=True,
    )
    asr_fake_audio: Path | None = setting(
        None,
        "Mono WAV file that plays the microphone when it is opened: once, then silence; over and over for voice training.",
    )
    barge_in: bool = setting(True, "Whether speaking interrupts the character.", live=True)
    barge_in_ms: int = setting(
        350, "Speech it takes to interrupt, in ms; less is a cough.", live=True, ge=0, le=5000
    )
    duck_volume: float = setting(
        0.25, "Volume while it is not clear yet, as a share.", live=True, ge=0, le=1
    )
    think_ahead: bool = setting(
        True,
        "Begin to answer while it is not sure yet that the speaker has finished; costs tokens when she goes on.",
        live=True,
    )

    # Training voices
    training_on_close: TrainingOnClose = setting(
        "keep",
        "What becomes of a running training when Luma is closed: it goes on, or saves and stops.",
        live=True,
    )
    training_threads: int = setting(
        0,
        "CPU threads of a training; 0 = as many as there are cores that nothing else uses.",
        live=True,
        ge=0,
        le=256,
    )
    training_minutes: float = setting(
        5.0,
        "Minutes that a quick training may train when nothing else is said.",
        live=True,
        gt=0,
        le=100_000,
    )
    training_keep_checkpoints: int = setting(
        5, "Checkpoints kept beside the last and the best.", live=True, ge=0, le=1000
    )

    # Twitch
    twitch_channel: str = setting(
        "",
        "Channel whose chat is read, joined when the module twitch is on; without a login it is read only.",
        live=True,
        max_length=200,
    )
    twitch_client_id: str = setting(
        "",
        "Id of your application at dev.twitch.tv (type public); for the login in the window.",
        live=True,
        max_length=100,
    )
    twitch_client_secret: Secret = setting(
        None, "Its secret, where the application is a confidential one; not needed.", live=True
    )
    twitch_oauth_token: Secret = setting(
        None, "A user's token, in place of the login in the window.", live=True
    )
    twitch_refresh_token: Secret = setting(
        None, "What that token is renewed with; without it the login ends.", live=True
    )
    twitch_bot_nick: str = setting(
        "",
        "Another name by which viewers call the character in chat.",
        live=True,
        max_length=100,
    )
    twitch_helix_url: str = setting(
        "https://api.twitch.tv/helix/", "Address of Twitch's API.", live=True, max_length=500
    )
    twitch_oauth_url: str = setting(
        "https://id.twitch.tv/", "Address of Twitch's login.", live=True, max_length=500
    )
    twitch_eventsub_url: str = setting(
        "wss://eventsub.wss.twitch.tv/ws", "Address of Twitch's events.", live=True, max_length=500
    )
    twitch_irc_url: str = setting(
        "wss://irc-ws.chat.twitch.tv:443",
        "Address of Twitch's chat for reading without a login.",
        live=True,
        max_length=500,
    )

    # Moderation
    moderation_profile: str = setting(
        "standard",
        "Rules for what viewers write and what she says: off, relaxed, standard, family, or a file of DATA_DIR/moderation.",
        live=True,
        max_length=40,
    )
    moderation_family: bool = setting(
        False, "Family-friendly: also use the rules that are kept for it.", live=True
    )
    moderation_llm: Literal["off", "in", "out", "both"] = setting(
        "off",
        "Also ask a language model (LLM_MODERATION_PROVIDER): about what viewers write, what she says, or both.",
        live=True,
    )
    moderation_llm_timeout_s: float = setting(
        2.0, "Longest wait for its yes or no.", live=True, gt=0, le=30
    )
    moderation_llm_fails: Literal["open", "closed"] = setting(
        "open", "What a text does that it gave no answer to: open = it passes.", live=True
    )

    # Modules and monitoring
    modules_on: Words = setting(
        ("hear", "speak", "memory", "avatar"),
        "Modules that are on at the first start; later the window decides.",
        choices=MODULES,
    )
    metrics_interval_s: float = setting(
        1.0, "Seconds between two measurements of CPU and memory.", live=True, ge=0.2, le=60
    )
    gpu_metrics_interval_s: float = setting(
        2.0, "Seconds between two measurements of the GPU.", live=True, ge=0.2, le=600
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments only: load_settings reads the other places, one by one, to know who decided."""
        return (init_settings,)

    @field_validator("*", mode="after")
    @classmethod
    def _one_of_the_choices(cls, value: Any, info: Any) -> Any:
        choices = _choices(cls.model_fields[info.field_name])
        for word in value if isinstance(value, tuple) else (value,):
            if choices and word and str(word) not in choices:
                near = difflib.get_close_matches(str(word), choices, n=1)
                raise ValueError(f"{word!r} is none of them" + (f"; {near[0]}?" if near else ""))
        return value

    @field_validator("cors_origins", "allowed_hosts")
    @classmethod
    def _no_wildcard(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("*" in word for word in value):
            raise ValueError("a wildcard would let every web page in; list each one")
        return value

    @field_validator("autonomy_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        value = value.strip()
        if value and zone_of(value) is None:
            raise ValueError(
                "this zone is not known here; write it like Europe/Berlin, or leave it empty"
            )
        return value

    @field_validator(
        "data_dir",
        "models_dir",
        "logs_dir",
        "tls_cert",
        "tls_key",
        "piper_model_path",
        "asr_fake_audio",
    )
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else (ROOT / value.expanduser()).absolute()

    @model_validator(mode="after")
    def _certificate_with_its_key(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "TLS_KEY" if self.tls_key is None else "TLS_CERT"
            raise ValueError(f"{missing} is missing; HTTPS needs TLS_CERT and TLS_KEY together.")
        return self

    @property
    def log_path(self) -> Path | None:
        """The log file, None when there is none."""
        return None if self.log_file in ("", "none") else self.logs_dir / self.log_file

    @property
    def is_remote(self) -> bool:
        """Whether other machines can reach the address."""
        return not is_loopback(self.api_host)

    @property
    def scheme(self) -> str:
        """What its addresses begin with: https with a certificate, else http."""
        return "https" if self.tls_cert and self.tls_key else "http"

    def llm_role(self, role: str) -> LlmRole:
        """Provider, model and parameters of a role, each falling back to main's."""
        assert role in ROLES, role
        mine = "" if role == "main" else f"{role}_"
        main = self.external_provider or self.llm_provider
        provider = getattr(self, f"llm_{mine}provider") if mine else main
        provider = provider or main
        decided_by = (
            f"LLM_{mine.upper()}PROVIDER"
            if mine and provider != main
            else "EXTERNAL_API_PROVIDER"
            if self.external_provider
            else "LLM_PROVIDER"
        )
        model = getattr(self, f"llm_{mine}model") if mine else ""
        if not model and provider == self.external_provider:
            model = self.external_api_model
        if not model and provider == main and not self.external_provider:
            model = self.llm_model
        if not model:
            model = getattr(self, f"{provider}_model", "")
        temperature = getattr(self, f"llm_{mine}temperature")
        max_tokens = getattr(self, f"llm_{mine}max_tokens")
        return LlmRole(
            role=role,
            provider=provider,
            model=model,
            temperature=self.llm_temperature if temperature is None else temperature,
            max_tokens=self.llm_max_tokens if max_tokens is None else max_tokens,
            detail=f"{decided_by}={provider}" + (f", model {model}" if model else ""),
        )

    @property
    def external_provider(self) -> str:
        """The language model that EXTERNAL_API_PROVIDER means; empty when it leaves that to LLM_PROVIDER."""
        named = self.external_api_provider or ("custom" if self.external_api_endpoint else "")
        return EXTERNAL_PROVIDERS[named] if named else ""

    def secrets(self) -> dict[str, str]:
        """Every key that is set, by field name, and the database's password; for the redactor."""
        found = {name: getattr(self, name) for name in type(self).model_fields if is_secret(name)}
        values = {name: value.get_secret_value() for name, value in found.items() if value}
        if password := DATABASE_PASSWORD.search(self.database_url):
            values["database_url"] = unquote(password[2])
        return values


ADDRESSES_OF_KEYS = {
    "openrouter_api_key": "openrouter_base_url",
    "openai_api_key": "openai_base_url",
    "anthropic_api_key": "anthropic_base_url",
    "openai_compatible_key": "openai_compatible_url",
    "orphiq_token": "orphiq_websocket_url",
    "external_api_key": "external_api_endpoint",
    "tts_openai_key": "tts_openai_url",
    "stt_openai_key": "stt_openai_url",
}
"""Each key, and the setting that says which server is sent it."""


def receiver_of(settings: Settings, key: str) -> str:
    """Whom a key is sent to (scheme, host and port); empty when nobody is named yet."""
    address = str(getattr(settings, ADDRESSES_OF_KEYS[key])).strip()
    if not address:
        return settings.external_api_provider if key == "external_api_key" else ""
    try:
        parts = urlsplit(address)
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme.lower(), parts.scheme.lower())
        port = parts.port or {"http": 80, "https": 443}.get(scheme, 0)
    except ValueError:
        return address.rpartition("@")[2]
    return f"{scheme}://{(parts.hostname or '').lower()}:{port}"


GROUPS = {
    "api_host": "Server",
    "data_dir": "Storage",
    "debug": "Logging",
    "llm_provider": "Thinking",
    "openrouter_api_key": "Providers",
    "backend_mode": "Modes",
    "autonomy_gap_s": "Autonomy",
    "tts_chain": "Speaking",
    "stt_chain": "Hearing",
    "twitch_channel": "Twitch",
    "moderation_profile": "Moderation",
    "modules_on": "Modules",
}
"""The first setting of each group; groups follow the order above."""


class Origin(StrEnum):
    """Where a value comes from, strongest first."""

    COMMAND_LINE = "command line"
    ENVIRONMENT = "environment"
    DOTENV = ".env"
    KEYS = "kept keys"
    FILE = "settings.yaml"
    DEFAULT = "default"


class SettingsError(Exception):
    """Settings that cannot be used; ``lines`` says each problem in one line."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and for each who decided it.

    Attributes:
        settings: The values.
        origins: Field name to origin; a field that is missing has its default.
        path: The settings.yaml that was read, or would be.
        secrets: Where keys typed in the window are kept.
        notices: What the user should know (an unknown name in settings.yaml …).
        raw: Values as they were written, per origin; for saving.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    path: Path
    secrets: SecretStore
    notices: tuple[str, ...] = ()
    raw: Mapping[Origin, Mapping[str, object]] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> LoadedSettings:
        """Given values as if settings.yaml held them: for tests, and programs that run a backend themselves."""
        given = {name: getattr(settings, name) for name in sorted(settings.model_fields_set)}
        return cls(
            settings=settings,
            origins=dict.fromkeys(given, Origin.FILE),
            path=settings.data_dir / "settings.yaml",
            secrets=SecretStore(settings.data_dir, use_keyring=False),
            raw={Origin.FILE: given},
        )

    def origin(self, name: str) -> Origin:
        """Who decided the field."""
        return self.origins.get(name, Origin.DEFAULT)

    def is_explicit(self, name: str) -> bool:
        """Whether somebody set the field, wherever."""
        return self.origin(name) is not Origin.DEFAULT

    def origin_in_words(self, name: str) -> str:
        """Who decided the field, for a person."""
        return _in_words(name, self.origin(name), self.path)

    def locked(self, name: str) -> str:
        """Why settings.yaml cannot change the field; empty when it can."""
        if self.origin(name) in (Origin.COMMAND_LINE, Origin.ENVIRONMENT, Origin.DOTENV):
            return f"set by {self.origin_in_words(name)}"
        if name == "data_dir":
            return "settings are kept inside this folder; use --data-dir, the environment or .env"
        return ""


def load_settings(
    overrides: Mapping[str, object] | None = None,
    *,
    env_file: Path | None = None,
    use_keyring: bool = True,
) -> LoadedSettings:
    """Read every source and merge them.

    Args:
        overrides: Values from the command line by field name; None entries are left out.
        env_file: Another ``.env``; None = LUMA_ENV_FILE from the environment, else the one beside this file.
        use_keyring: False keeps keys in a file even where the system has a keyring.

    Raises:
        SettingsError: If a value is not allowed or a file cannot be read, one line each.
    """
    environment = os.environ
    if env_file is None:
        named = environment.get("LUMA_ENV_FILE")
        env_file = ROOT / ".env" if named is None else Path(named or os.devnull)
    raw: dict[Origin, Mapping[str, object]] = {
        Origin.COMMAND_LINE: {k: v for k, v in (overrides or {}).items() if v is not None},
        Origin.ENVIRONMENT: _known(EnvSettingsSource(Settings, env_ignore_empty=True)()),
        Origin.DOTENV: _read_dotenv(env_file),
    }
    bases = {
        Origin.COMMAND_LINE: Path.cwd(),
        Origin.ENVIRONMENT: Path.cwd(),
        Origin.DOTENV: env_file.parent,
    }
    for origin, base in bases.items():
        raw[origin] = {k: _from_folder(k, v, base) for k, v in raw[origin].items()}

    early, early_origins = merge(raw)
    first = {name: early[name] for name in ("data_dir",) if name in early}
    data_dir = validated(first, early_origins, ROOT).data_dir
    named = environment.get("LUMA_CONFIG")
    path = Path(named).expanduser().absolute() if named else data_dir / "settings.yaml"
    kept, notices = _read_yaml(path)
    raw[Origin.FILE] = kept
    store = SecretStore(data_dir, use_keyring=use_keyring)
    values, secret_notices = store.load()
    raw[Origin.KEYS] = {name: value for name, value in values.items() if is_secret(name)}
    merged, origins = merge(raw)
    settings = validated(merged, origins, path)
    return LoadedSettings(settings, origins, path, store, (*notices, *secret_notices), raw)


def is_secret(name: str) -> bool:
    """Whether a field is never shown."""
    info = Settings.model_fields.get(name)
    return info is not None and SecretStr in (info.annotation, *get_args(info.annotation))


def is_live(name: str) -> bool:
    """Whether a change of the field takes effect while the program runs."""
    return bool(_extra(Settings.model_fields[name]).get("live"))


def group_of(name: str) -> str:
    """The heading of a field."""
    group = ""
    for each in Settings.model_fields:
        group = GROUPS.get(each, group)
        if each == name:
            break
    return group


def choices_of(name: str) -> tuple[str, ...]:
    """The words a field, or each entry of its list, may be; empty when it is free."""
    return _choices(Settings.model_fields[name])


def limits_of(name: str) -> tuple[float | None, float | None]:
    """Lowest and highest value of a number."""
    low = high = None
    for rule in Settings.model_fields[name].metadata:
        low = getattr(rule, "ge", getattr(rule, "gt", low))
        high = getattr(rule, "le", getattr(rule, "lt", high))
    return low, high


def kind_of(
    name: str,
) -> Literal["text", "number", "integer", "switch", "choice", "list", "path", "secret"]:
    """How a field is edited."""
    info = Settings.model_fields[name]
    types = {info.annotation, *get_args(info.annotation)}
    if is_secret(name):
        return "secret"
    if info.annotation == tuple[str, ...]:
        return "list"
    if _choices(info):
        return "choice"
    if bool in types:
        return "switch"
    if int in types:
        return "integer"
    if float in types:
        return "number"
    return "path" if Path in types else "text"


def allowed_in_words(name: str) -> str:
    """What a field may be, for a person."""
    info = Settings.model_fields[name]
    kind = kind_of(name)
    choices = _choices(info)
    optional = info.default is None or (kind == "choice" and info.default == "")
    if kind == "list":
        text = f"a list of {', '.join(choices)}" if choices else "a list, separated by commas"
    elif kind == "choice":
        text = f"one of {', '.join(choices)}"
    elif kind == "switch":
        text = "true or false"
    elif kind in ("integer", "number"):
        low, high = limits_of(name)
        above = any(getattr(rule, "gt", None) is not None for rule in info.metadata)
        what = "a whole number" if kind == "integer" else "a number"
        text = f"{what} {'above' if above else 'from'} {_plain(low)} {'up ' if above else ''}to {_plain(high)}"
    else:
        text = {"path": "a path", "secret": "a key"}.get(kind, "text")
    return text + (", or empty" if optional else "")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def mask(secret: str) -> str:
    """A key as it may be shown: its last four characters when it is long enough to spare them."""
    if not secret:
        return ""
    return "••••" + (secret[-4:] if len(secret) >= 16 else "")


def _plain(number: float | None) -> str:
    return "any" if number is None else f"{number:,.10g}".replace(",", "")


def _extra(info: FieldInfo) -> dict[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def _choices(info: FieldInfo) -> tuple[str, ...]:
    literals = tuple(str(a) for a in get_args(info.annotation) if isinstance(a, str))
    listed: list[str] = _extra(info).get("choices", [])
    return literals or tuple(listed)


def _known(values: Mapping[str, object]) -> dict[str, object]:
    return {k: v for k, v in values.items() if k in Settings.model_fields}


def _read_dotenv(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        source = DotEnvSettingsSource(
            Settings, env_file=path, env_file_encoding="utf-8-sig", env_ignore_empty=True
        )
        return _known(source())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path} cannot be read: {error}"]) from error


def _read_yaml(path: Path) -> tuple[dict[str, object], tuple[str, ...]]:
    values, unknown = read_settings_file(path)
    notices = []
    for name in unknown:
        near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        notices.append(f"{path}: there is no setting {name!r}{hint}")
    for name in [*values]:
        if name == "data_dir":
            notices.append(f"{path}: data_dir is ignored here; use --data-dir, DATA_DIR or .env")
            del values[name]
        elif is_secret(name):
            notices.append(f"{path}: {name} is a key; better kept in .env or typed in the window")
    return {k: _from_folder(k, v, path.parent) for k, v in values.items()}, tuple(notices)


def read_settings_file(path: Path) -> tuple[dict[str, object], dict[str, object]]:
    """What a settings.yaml says: known fields by name, and everything else as it stands.

    Raises:
        SettingsError: If it is not YAML or not a list of names and values.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}, {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path} cannot be read: {error}"]) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise SettingsError(
            [f"{path}{where}: {problem}. Correct it or delete the file."]
        ) from error
    if content is None:
        return {}, {}
    if not isinstance(content, dict):
        raise SettingsError([f"{path} must hold lines like 'llm_provider: persona'."])
    known: dict[str, object] = {}
    unknown: dict[str, object] = {}
    for name, value in content.items():
        lower = str(name).lower()
        if lower not in Settings.model_fields:
            unknown[str(name)] = value
        elif value is not None and (value != "" or kind_of(lower) in ("text", "choice")):
            known[lower] = value
    return known, unknown


def _from_folder(name: str, value: object, folder: Path) -> object:
    """A relative path is meant from where it was written: the shell's folder, or the file's."""
    if isinstance(value, str | Path) and str(value) and kind_of(name) == "path":
        return folder / Path(value).expanduser()
    return value


def merge(
    raw: Mapping[Origin, Mapping[str, object]],
) -> tuple[dict[str, object], dict[str, Origin]]:
    """The strongest value of each field, and who gave it."""
    values: dict[str, object] = {}
    origins: dict[str, Origin] = {}
    for origin in reversed(Origin):
        for name, value in raw.get(origin, {}).items():
            values[name], origins[name] = value, origin
    return values, origins


def validated(values: Mapping[str, object], origins: Mapping[str, Origin], path: Path) -> Settings:
    try:
        return Settings(**dict(values))  # type: ignore[arg-type]  # that is what it checks
    except ValidationError as error:
        raise SettingsError(_problems(error, values, origins, path)) from None


def _problems(
    error: ValidationError,
    values: Mapping[str, object],
    origins: Mapping[str, Origin],
    path: Path,
) -> list[str]:
    lines: dict[str, str] = {}
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if not name:
            lines[name] = problem["msg"].removeprefix("Value error, ")
        if name in lines or name not in Settings.model_fields:
            continue
        value = values.get(name)
        shown = repr(mask(str(value)) if is_secret(name) else str(value))
        reason = (
            f" ({problem['msg'].removeprefix('Value error, ')})"
            if problem["type"] == "value_error"
            else ""
        )
        origin = _in_words(name, origins.get(name, Origin.DEFAULT), path)
        lines[name] = (
            f"{name.upper()} is {shown} (from {origin}), allowed is {allowed_in_words(name)}{reason}."
        )
    return list(lines.values()) or [str(error).replace("\n", " ")]


def _in_words(name: str, origin: Origin, path: Path) -> str:
    match origin:
        case Origin.COMMAND_LINE:
            return "the command line"
        case Origin.ENVIRONMENT:
            return f"environment variable {name.upper()}"
        case Origin.DOTENV:
            return f"{name.upper()} in .env"
        case Origin.FILE:
            return str(path)
        case Origin.KEYS:
            return "the kept keys"
        case Origin.DEFAULT:
            return "default"


def has_display() -> bool:
    """Whether the environment names an X or Wayland display."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
