"""The program as a user starts it: a child process with its own data folder."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 30.0


class Program:
    """``python main.py`` with arguments; killed at the end of the ``with`` block if it still runs.

    Args:
        data_dir: Its data folder.
        arguments: More arguments.
        environment: More environment variables; a display is passed on only when it is among them.
        folder: The project folder.
        own_group: Whether it begins a process group, so that it can be killed with its children.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        environment: dict[str, str] | None = None,
        folder: Path = ROOT,
        cwd: Path | None = None,
        own_group: bool = False,
    ) -> None:
        self.data_dir = data_dir
        variables = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
        variables["LOGS_DIR"] = str(data_dir.parent / "logs")
        variables["AUDIO_SINK"] = "none"
        variables |= environment or {}
        self.output = data_dir.parent / f"{data_dir.name}-{time.monotonic_ns()}.out"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(folder / "main.py"), "--data-dir", str(data_dir), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
                cwd=cwd or data_dir.parent,
                start_new_session=own_group,
            )

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """What it said on the terminal so far."""
        return self.output.read_text("utf-8", "replace")

    def says(self, words: str) -> bool:
        """Whether it says so on the terminal, now or soon."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.said and time.monotonic() < deadline:
            time.sleep(0.02)
        return words in self.said

    def ready(self) -> str:
        """Wait until it says where it listens; its address."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.said}"
            try:
                address = json.loads((self.data_dir / "backend.json").read_text())
            except (OSError, ValueError):
                time.sleep(0.02)
                continue
            if address["pid"] == self.process.pid:
                return str(address["url"])
        raise AssertionError(f"not ready after {PATIENCE_S} s: {self.said}")

    def ended(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(timeout_s)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Ask it to end; exit code and seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        return self.ended(), time.monotonic() - begun

    def get(self, path: str, *, with_token: bool = True) -> tuple[int, bytes]:
        """One request."""
        return self.ask("GET", path, with_token=with_token)

    def ask(
        self, method: str, path: str, body: object = None, *, with_token: bool = True
    ) -> tuple[int, bytes]:
        """One request with an optional JSON body."""
        address = urlsplit(self.ready())
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=PATIENCE_S
        )
        headers = {"Content-Type": "application/json"}
        if with_token:
            token = (self.data_dir / "api_token").read_text().strip()
            headers["Authorization"] = f"Bearer {token}"
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
