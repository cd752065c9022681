"""Luma with the fake trainer, as a program that tests kill: ``python -m tests.training_program FOLDER``.

It makes a speaker with clips at its first start, prints its address as one line, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from backend.app import create_app
from backend.server import BackendThread
from config import LoadedSettings
from tests.integration.conftest import settings_for
from tests.training_data import speaker_with_clips

FAKE = (sys.executable, "-m", "tests.fake_trainer")


def main() -> None:
    folder = Path(sys.argv[1])
    settings = settings_for(folder, tts_chain=("piper", "tone"), stt_chain=())
    app = create_app(LoadedSettings.of(settings), trainer=FAKE)
    with BackendThread(settings, make_app=lambda: app) as backend:
        running = app.state.backend
        if not (settings.data_dir / "training" / "speakers" / "machine.json").exists():
            made = speaker_with_clips(running.voice_data, folder)
            asyncio.run_coroutine_threadsafe(made, running._loop).result(30)
        token = (settings.data_dir / "api_token").read_text().strip()
        sys.stdout.write(json.dumps({"url": backend.url, "token": token}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
