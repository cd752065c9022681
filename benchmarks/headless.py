"""Luma itself (main.py --headless) in a process of its own, on a folder of its own: what is measured from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Running:
    """Where it listens, what opens it, and what it logs."""

    port: int
    token: str
    log: Path

    @property
    def headers(self) -> dict[str, str]:
        """What a client shows."""
        return {"Authorization": f"Bearer {self.token}"}


@contextmanager
def luma(**settings: object) -> Iterator[Running]:
    """Start it, and end it afterwards.

    Args:
        settings: What it is set to beside an echo for a model, a tone for a voice, no loudspeaker and no limit of requests.

    Raises:
        RuntimeError: It ended before it listened.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        usual: dict[str, object] = {
            "llm_provider": "echo",
            "tts_chain": ["tone"],
            "audio_sink": "none",
            "api_requests_per_minute": 1_000_000,
            "models_dir": str(data / "models"),
            "logs_dir": str(data / "logs"),
        }
        (data / "settings.yaml").write_text(json.dumps(usual | settings))  # JSON is YAML
        with subprocess.Popen(
            [sys.executable, "main.py", "--headless", "--port", "0", "--data-dir", folder],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                address = data / "backend.json"
                while not address.exists():
                    if process.poll() is not None:
                        raise RuntimeError(f"Luma did not start: exit code {process.returncode}")
                    time.sleep(0.05)
                port = int(json.loads(address.read_text())["url"].rpartition(":")[2])
                token = (data / "api_token").read_text().strip()
                yield Running(port, token, data / "logs" / "luma.jsonl")
            finally:
                process.terminate()
