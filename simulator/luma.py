"""The Luma that is measured: one that is started here with a data folder of its own, or one that runs already."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 20.0


class LumaError(Exception):
    """It does not run, or does not do what the run needs; says what to do."""


@dataclass(frozen=True, slots=True)
class Luma:
    """Where it listens, and what opens it.

    Attributes:
        process: It and its children; None = it cannot be seen from here.
        log: Where its words are; None for one that was not started here.
    """

    url: str
    token: str
    process: psutil.Process | None = None
    log: Path | None = None

    @property
    def bearer(self) -> dict[str, str]:
        """The header that opens it."""
        return {"Authorization": f"Bearer {self.token}"}

    def memory_bytes(self) -> int | None:
        """What it and its children have in memory now."""
        if self.process is None:
            return None
        try:
            family = [self.process, *self.process.children(recursive=True)]
            return sum(one.memory_info().rss for one in family)
        except psutil.NoSuchProcess:
            return None

    def processor_s(self) -> float | None:
        """Processor time it has used so far, its children not counted."""
        if self.process is None:
            return None
        try:
            used = self.process.cpu_times()
        except psutil.NoSuchProcess:
            return None
        return float(used.user + used.system)

    def starved_s(self) -> float | None:
        """How long its threads were ready to run and had no processor, so far; None where the system does not tell."""
        if self.process is None:
            return None
        waited_ns = 0
        try:
            for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
                waited_ns += int((thread / "schedstat").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return None
        return waited_ns / 1e9


@asynccontextmanager
async def started(settings: Mapping[str, str], log_file: Path | None = None) -> AsyncIterator[Luma]:
    """A headless Luma of its own, until the end of the block.

    Args:
        settings: Settings by name ("TWITCH_CHANNEL"); a data folder, a port and quiet engines are added.
        log_file: Where its words go; None = to a file that is thrown away.

    Raises:
        LumaError: It did not start.
    """
    with TemporaryDirectory(prefix="luma-simulator-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        log = log_file or Path(folder) / "luma.log"
        nothing = Path(folder) / "no.env"
        nothing.touch()
        keep = {
            name: value
            for name, value in os.environ.items()  # noqa: TID251 - the child's, not our settings
            if name not in ("DISPLAY", "WAYLAND_DISPLAY")
        }
        own = {
            "LUMA_ENV_FILE": str(nothing),
            "LOGS_DIR": str(Path(folder) / "logs"),
            "MODELS_DIR": str(Path(folder) / "models"),
            "TTS_CHAIN": "tone",
            "STT_CHAIN": "script",
            "AUDIO_SINK": "overlay",
            "API_REQUESTS_PER_MINUTE": "1000000",
            "PYTHONUNBUFFERED": "1",
        }
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: ASYNC220 - once, before anything is measured
                [
                    *(sys.executable, str(ROOT / "main.py"), "--headless"),
                    *("--port", "0", "--data-dir", str(data)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**keep, **own, **settings},
                cwd=folder,
            )
        try:
            url = await _listening(data, process, log)
            token = (data / "api_token").read_text().strip()
            yield Luma(url, token, psutil.Process(process.pid), log)
        finally:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)


async def _listening(data: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(int(STARTS_WITHIN_S / 0.05)):
        if process.poll() is not None:
            said = (await asyncio.to_thread(log.read_text, "utf-8", "replace"))[-2000:]
            raise LumaError(f"Luma ended with {process.returncode} instead of starting:\n{said}")
        try:
            address = json.loads((data / "backend.json").read_text())
        except (OSError, ValueError):
            await asyncio.sleep(0.05)
            continue
        return str(address["url"])
    raise LumaError(f"Luma did not say where it listens within {STARTS_WITHIN_S:g} s.")


def attached(url: str, token_file: Path) -> Luma:
    """A Luma that runs already.

    Raises:
        LumaError: The token cannot be read.
    """
    try:
        token = token_file.read_text().strip()
    except OSError as error:
        raise LumaError(
            f"The token at {token_file} cannot be read ({error}). It is in the data folder, as api_token."
        ) from error
    return Luma(url.rstrip("/"), token, _beside(token_file))


def _beside(token_file: Path) -> psutil.Process | None:
    """Its process, where it runs on this machine and its address lies beside the token."""
    try:
        address = json.loads(token_file.with_name("backend.json").read_text())
        return psutil.Process(int(address["pid"]))
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return None


class Api:
    """Requests to it, apart from those that are measured."""

    def __init__(self, luma: Luma) -> None:
        self._http = httpx.AsyncClient(
            base_url=luma.url, headers=luma.bearer, timeout=30, trust_env=False
        )

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        answer = await self._http.request(method, path, json=body)
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None

    async def need(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer that has to be a good one.

        Raises:
            LumaError: It was not.
        """
        status, said = await self.ask(method, path, body)
        if not 200 <= status < 300:
            raise LumaError(f"{method} {path} was answered with {status}: {said}")
        return said
