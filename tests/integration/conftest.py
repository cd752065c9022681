"""A real backend on a free port, with the engines that ship as fakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from backend.app import create_app
from backend.server import BackendThread
from backend.training.runner import PROGRAM
from config import LoadedSettings, Settings


class Served:
    """A running backend and the ways to reach it."""

    def __init__(
        self, backend: BackendThread, app: FastAPI, token: str, overlay_token: str
    ) -> None:
        self.backend = backend
        self.app = app
        self.url = backend.url
        self.token = token
        self.overlay_token = overlay_token
        self.bearer = {"Authorization": f"Bearer {token}"}

    @property
    def socket_url(self) -> str:
        return self.url.replace("http://", "ws://") + "/ws"

    def client(self) -> httpx.Client:
        """A client with the token."""
        return httpx.Client(base_url=self.url, headers=self.bearer, timeout=20, trust_env=False)

    def stranger(self) -> httpx.Client:
        """A client without one."""
        return httpx.Client(base_url=self.url, timeout=20, trust_env=False)


def settings_for(folder: Path, **changes: object) -> Settings:
    """Settings that need no model, key, device or network."""
    values: dict[str, object] = {
        "api_port": 0,
        "data_dir": folder / "data",
        "models_dir": folder / "models",
        "logs_dir": folder / "logs",
        "llm_provider": "echo",
        "llm_fallbacks": (),
        "tts_chain": ("tone",),
        "stt_chain": ("script",),
        "audio_sink": "none",
        # Nobody listens there: no test reaches Twitch by mistake.
        "twitch_helix_url": "http://127.0.0.1:9/helix/",
        "twitch_oauth_url": "http://127.0.0.1:9/",
        "twitch_eventsub_url": "ws://127.0.0.1:9/ws",
        "twitch_irc_url": "ws://127.0.0.1:9/irc",
        **changes,
    }
    return Settings(**values)  # type: ignore[arg-type]


def serve(folder: Path, *, trainer: Sequence[str] = PROGRAM, **changes: object) -> Iterator[Served]:
    """Start a backend, hand it out, stop it."""
    settings = settings_for(folder, **changes)
    app = create_app(LoadedSettings.of(settings), trainer=trainer)
    with BackendThread(settings, make_app=lambda: app) as backend:
        data = settings.data_dir
        yield Served(
            backend,
            app,
            (data / "api_token").read_text().strip(),
            (data / "overlay_token").read_text().strip(),
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One backend for a file of tests."""
    yield from serve(tmp_path_factory.mktemp("luma"))


@pytest.fixture(scope="module")
def api(served: Served) -> Iterator[httpx.Client]:
    """A client with the token."""
    with served.client() as client:
        yield client
