"""Every setting of the program: its name, default, range and meaning.

The only module that reads the environment or ``.env``. Everything else is handed values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(env_file=ROOT / ".env", frozen=True, extra="ignore")

    # server
    api_host: str = Field("127.0.0.1", description="Address the backend listens on.")
    api_port: int = Field(8765, ge=0, le=65535, description="Port of the backend; 0 picks one.")
    data_dir: Path = Field(ROOT / "data", description="Database, sounds, settings, token.")
    models_dir: Path = Field(ROOT / "models", description="Voices and weights.")
    logs_dir: Path = Field(ROOT / "logs", description="Rotating logs.")
    debug: bool = Field(False, description="Verbose logs and tracebacks for the operator.")
    cors_origins: tuple[str, ...] = Field((), description="Web origins that may call the API.")
    allowed_hosts: tuple[str, ...] = Field((), description="More Host names that are answered.")
    database_url: str = Field("", description="SQLAlchemy URL; empty = SQLite in the data folder.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Log level."
    )

    # thinking
    llm_provider: str = Field("persona", description="Engine that answers.")
    llm_model: str = Field("", description="Its model; empty = the provider's own setting.")
    llm_fallbacks: tuple[str, ...] = Field(
        ("persona",), description="Engines tried next, in order."
    )
    llm_temperature: float = Field(0.8, ge=0, le=2, description="0 sober to 2 wild.")
    llm_max_tokens: int = Field(512, ge=1, le=32768, description="Longest reply, in tokens.")
    context_tokens: int = Field(4096, ge=256, le=1_000_000, description="Prompt budget, in tokens.")
    openai_api_key: SecretStr | None = Field(None, description="Key of OpenAI.")

    # speaking
    tts_chain: tuple[str, ...] = Field(
        ("piper", "embedded"), description="Speech engines, in order."
    )
    tts_timeout_s: float = Field(5.0, gt=0, le=60, description="Longest wait for one sentence.")
    audio_sink: Literal["speaker", "overlay", "none"] = Field(
        "speaker", description="Where the stage is heard."
    )
    output_device: str = Field("", description="Name of the output device; empty = the system's.")

    # hearing
    stt_engine: str = Field("whisper", description="Engine that reads speech.")
