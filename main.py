"""The program: read the settings, start the backend on its thread, open the window, stop both.

Exit codes: 0 a clean end, 1 a failure (of ``--doctor``: something is broken), 2 wrong settings or arguments, 3 it already
runs with this data folder, 4 the port is taken.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, TextIO
from urllib.parse import urlsplit

import config
from config import LoadedSettings, SettingsError

if TYPE_CHECKING:
    import httpx

    from backend.contracts.checkup import CheckupReport
    from backend.core.instance import Instance
    from backend.server import BackendThread

FAILED = 1
WRONG_SETTINGS = 2
ALREADY_RUNNING = 3
PORT_TAKEN = 4

CHECKUP_TRIES = 40
"""Half a second each: a reply that is being spoken is waited for."""

GC_USUAL = gc.get_threshold()
GC_AT_START = (50_000, 50, 100)
"""Importing makes 100,000 objects that stay; looking through them again and again took 80 ms of the start."""


class _Refused(Exception):
    """The program cannot start; says why and with which exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def main(arguments: list[str] | None = None) -> int:
    """Run Luma until its end; returns the exit code."""
    given = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a C locale must not end the program
    # What is said, and what is kept of it, is nobody else's on this machine: every file and folder made from here on.
    os.umask(0o077)
    try:
        overrides = {
            "api_host": given.host,
            "api_port": given.port,
            "data_dir": given.data_dir,
            "log_level": given.log_level,
        }
        loaded = config.load_settings(overrides)
        if given.devices:
            return _list_devices(loaded, as_json=given.json)
        if given.doctor:
            return _check_up(loaded, given)
        if given.connect:
            return _attach(given.connect, given.token_file, loaded)
        return _run(loaded, partial(_serve, headless=given.headless))
    except SettingsError as error:
        for line in error.lines:
            _say(line)
        return WRONG_SETTINGS
    except _Refused as error:
        _say(str(error))
        return error.code
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py", description="Luma, the desktop command center for AI VTubers."
    )
    parser.add_argument("--headless", action="store_true", help="run the backend without a window")
    parser.add_argument("--connect", metavar="URL", help="open a window to a running backend")
    parser.add_argument("--token-file", type=Path, help="file with its token, for --connect")
    parser.add_argument("--host", help="address the backend listens on (API_HOST)")
    parser.add_argument("--port", help="its port (API_PORT)")
    parser.add_argument("--data-dir", help="folder of the database and settings (DATA_DIR)")
    parser.add_argument("--log-level", help="DEBUG, INFO, WARNING or ERROR (LOG_LEVEL)")
    parser.add_argument(
        "--doctor",
        action="store_true",
        help="check the live path from microphone to speaker, of the running Luma or of one started for it, and end",
    )
    parser.add_argument(
        "--devices", action="store_true", help="list microphones and loudspeakers by name, and end"
    )
    parser.add_argument(
        "--json", action="store_true", help="with --doctor and --devices: print JSON"
    )
    parser.add_argument(
        "--no-microphone", action="store_true", help="with --doctor: do not open the microphone"
    )
    parser.add_argument("--no-sound", action="store_true", help="with --doctor: play nothing")
    parser.add_argument("--version", action="version", version=f"Luma {config.VERSION}")
    return parser


def _list_devices(loaded: LoadedSettings, *, as_json: bool) -> int:
    """Print what can be listened to and played on; 1 when it cannot be looked for."""
    from backend.clients import portaudio
    from backend.contracts.errors import EngineUnavailableError

    try:
        found = portaudio.listing()
    except EngineUnavailableError as error:
        raise _Refused(error.message, FAILED) from error
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    settings = loaded.settings
    for title, devices, setting, chosen in (
        ("Microphones", found["inputs"], "ASR_INPUT_DEVICE", settings.asr_input_device),
        ("Loudspeakers", found["outputs"], "OUTPUT_DEVICE", settings.output_device),
    ):
        print(f"{title} ({setting}: {chosen or 'as the system chooses'})")
        for one in devices:
            mark = "*" if one["is_default"] else " "
            print(f"  {mark} {one['name']}   {one['host_api']}, {one['rate_hz']:,} Hz")
        if not devices:
            print("    none")
        if chosen and chosen not in [one["name"] for one in devices]:
            print(f"    {chosen} is not there now")
    print("* = the system's own choice")
    if settings.asr_fake_audio is not None:
        print(f"The file {settings.asr_fake_audio} plays the microphone (ASR_FAKE_AUDIO).")
    return 0


def _run(
    loaded: LoadedSettings,
    serve: Callable[[LoadedSettings, Instance, str], int],
    *,
    console: TextIO | None = sys.stderr,
) -> int:
    """Hold the data folder and the log while ``serve`` runs, which gets the token too."""
    gc.set_threshold(*GC_AT_START)
    from backend.contracts.errors import AppError
    from backend.core import logs
    from backend.core.auth_token import load_or_create_token
    from backend.core.instance import AlreadyRunningError, Instance, make_private

    settings = loaded.settings
    _check_address(loaded)
    try:
        instance = Instance(settings.data_dir)
        with instance:
            make_private(settings.data_dir)
            token = load_or_create_token(settings.data_dir)
            for secret in (token, *settings.secrets().values()):
                logs.REDACTOR.add(secret)
            log = logs.start_logging(
                settings.log_path,
                level=settings.log_level,
                debug=settings.debug,
                max_bytes=int(settings.log_file_mb * 1024 * 1024),
                backups=settings.log_file_backups,
                console=console,
            )
            try:
                for notice in loaded.notices:
                    _say(notice)
                return serve(loaded, instance, token)
            finally:
                log.close()
    except AlreadyRunningError as error:
        raise _Refused(str(error), ALREADY_RUNNING) from error
    except AppError as error:
        raise _Refused(error.message, WRONG_SETTINGS) from error
    except OSError as error:
        where = error.filename or settings.data_dir
        raise _Refused(
            f"The data folder cannot be used: {where}: {error.strerror}. Choose another one with --data-dir.",
            FAILED,
        ) from error


def _serve(loaded: LoadedSettings, instance: Instance, token: str, *, headless: bool) -> int:
    from backend.server import BackendThread

    settings = loaded.settings
    backend = BackendThread(loaded, listener=_open(loaded))
    if settings.api_port and backend.port != settings.api_port:
        _say(f"Port {settings.api_port} is taken; Luma listens on {backend.port} instead.")
    if not headless and (reason := _why_no_window()):
        _say(f"{reason} Luma runs without a window.")
        headless = True
    stop = _Stop()
    code, clean = 0, True
    with stop.on_signals():
        try:
            backend.begin()
            watcher = threading.Thread(
                target=_watch, args=(backend, instance, stop), name="start", daemon=True
            )
            watcher.start()
            if headless:
                # In slices: Windows delivers no signal while a thread waits without end.
                while not stop.wait(0.5):
                    pass
            else:
                code = _window(backend.url, token, settings.data_dir / "window.json", stop)
        except Exception:
            logging.getLogger("luma").exception("the window failed")
            code = FAILED
        finally:
            stop.set()
            clean = backend.stop()
    if backend.failure():
        _say(f"The backend failed: {backend.failure()}")
        return FAILED
    return code if clean else FAILED


def _open(loaded: LoadedSettings) -> socket.socket:
    """The socket at the settings' address."""
    from backend.server import BackendError, PortTakenError, open_socket

    settings = loaded.settings
    try:
        return open_socket(
            settings.api_host, settings.api_port, may_move=not loaded.is_explicit("api_port")
        )
    except PortTakenError as error:
        raise _Refused(str(error), PORT_TAKEN) from error
    except BackendError as error:
        raise _Refused(str(error), WRONG_SETTINGS) from error


def _watch(backend: BackendThread, instance: Instance, stop: _Stop) -> None:
    """Say where the backend is once it answers, and end the program when the backend ends by itself."""
    from backend.server import BackendError

    with contextlib.suppress(BackendError):  # the failure is reported at the end
        backend.wait_ready()
        try:
            instance.write_address(backend.url, config.VERSION)
        except OSError as error:
            _say(f"The address could not be written to the data folder: {error.strerror}.")
        _say(f"Luma is ready at {backend.url}")
        # What the start has made lives until the end. The collector need not walk all of it again in the middle of a
        # turn, which takes 60 ms and more.
        gc.freeze()
        gc.set_threshold(*GC_USUAL)
        backend.wait_ended()
    stop.ask()


def _window(url: str, token: str, state_path: Path, stop: _Stop) -> int:
    """The window, until it is closed or the program is asked to stop."""
    from frontend.gui import run_window

    if stop.is_set():
        return 0
    try:
        return run_window(
            url, token, state_path, stop=lambda window: stop.also(window.ask_to_close)
        )
    finally:
        # Tcl aborts the process when its interpreter is deleted by another thread, and the collector runs in any: what
        # is left of the window stays until the end, while the backend stops.
        gc.disable()


def _attach(url: str, token_file: Path | None, loaded: LoadedSettings) -> int:
    """A window to a backend that runs elsewhere."""
    from backend.contracts.errors import AppError
    from backend.core import logs
    from backend.core.auth_token import read_token

    address = _checked_url(url)
    if reason := _why_no_window():
        raise _Refused(f"{reason} --connect needs one.", FAILED)
    try:
        token = read_token(token_file) if token_file else _ask_token(address)
    except AppError as error:
        raise _Refused(error.message, WRONG_SETTINGS) from error
    logs.REDACTOR.add(token)
    settings = loaded.settings
    log = logs.start_logging(
        None, level=settings.log_level, debug=settings.debug, console=sys.stderr
    )
    stop = _Stop()
    try:
        with stop.on_signals():
            return _window(address, token, settings.data_dir / "window-attached.json", stop)
    finally:
        log.close()


def _check_up(loaded: LoadedSettings, given: argparse.Namespace) -> int:
    """The check-up of the running backend, or of one that is started for it; 1 when something is broken."""
    from backend.contracts.errors import AppError
    from backend.core.auth_token import read_token
    from backend.core.instance import read_address

    asked = {"microphone": not given.no_microphone, "sound": not given.no_sound}
    data_dir = loaded.settings.data_dir
    try:
        if given.connect:
            url = _checked_url(given.connect)
            token = read_token(given.token_file) if given.token_file else _ask_token(url)
            return _ask_for_checkup(url, token, asked, as_json=given.json)
        running = read_address(data_dir)
        if running is not None and _answers(running.url):
            token = read_token(data_dir / "api_token")
            return _ask_for_checkup(running.url, token, asked, as_json=given.json)
    except AppError as error:
        raise _Refused(error.message, WRONG_SETTINGS) from error

    def serve(loaded: LoadedSettings, _instance: Instance, token: str) -> int:
        from backend.server import BackendError, BackendThread

        backend = BackendThread(loaded, listener=_open(loaded))
        try:
            backend.start()
            return _ask_for_checkup(backend.url, token, asked, as_json=given.json)
        except BackendError as error:
            raise _Refused(f"The backend cannot start: {error}", FAILED) from error
        finally:
            backend.stop()

    # Its log goes to the file only: the terminal is for the report.
    return _run(loaded, serve, console=None)


def _answers(url: str) -> bool:
    """Whether a backend is there; a file left behind by a killed one names one that is not."""
    import httpx

    try:
        return httpx.get(f"{url}/api/health", timeout=3, trust_env=False, verify=False).is_success
    except httpx.HTTPError:
        return False


def _ask_for_checkup(url: str, token: str, asked: dict[str, bool], *, as_json: bool) -> int:
    """Run it over REST, print each line when it is there."""
    import httpx

    from backend.contracts.checkup import CheckupReport, line_text

    own = config.is_loopback(urlsplit(url).hostname or "")
    try:
        with httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
            trust_env=False,
            verify=not own,  # a certificate names the outside, not this machine
        ) as api:
            report = _begin_checkup(api, asked)
            if not as_json:
                print(f"{report.machine}\nChecking; this takes up to half a minute.\n", flush=True)
            told: set[str] = set()
            try:
                while True:
                    for line in report.lines:
                        if line.state not in ("waiting", "running") and line.name not in told:
                            told.add(line.name)
                            if not as_json:
                                print(line_text(line), flush=True)
                    if report.state != "running":
                        break
                    time.sleep(0.1)
                    report = CheckupReport.model_validate(_answer(api.get("/api/doctor")))
            except KeyboardInterrupt:
                api.delete("/api/doctor")
                raise
    except httpx.HTTPError as error:
        raise _Refused(f"The backend at {url} does not answer ({error}).", FAILED) from error
    print(report.model_dump_json(indent=2) if as_json else f"\n{report.verdict}", flush=True)
    return FAILED if report.count("red") or report.state != "done" else 0


def _begin_checkup(api: httpx.Client, asked: dict[str, bool]) -> CheckupReport:
    """Begin; while a turn runs, wait for its end."""
    from backend.contracts.checkup import CheckupReport

    for _ in range(CHECKUP_TRIES):
        answer = api.post("/api/doctor", json=asked)
        if answer.status_code != 409:
            break
        time.sleep(0.5)
    return CheckupReport.model_validate(_answer(answer))


def _answer(answer: httpx.Response) -> object:
    """What a route said.

    Raises:
        _Refused: It refused, with its words.
    """
    try:
        said = answer.json()
    except ValueError:
        said = {}
    if answer.is_success:
        return said
    words = said.get("message") if isinstance(said, dict) else ""
    raise _Refused(str(words or f"The backend answers {answer.status_code}."), FAILED)


def _checked_url(url: str) -> str:
    found = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = found.port
    except ValueError:
        port = -1
    if found.scheme not in ("http", "https") or not found.hostname or port == -1:
        raise _Refused(
            f"--connect {url!r} is no address; it looks like http://127.0.0.1:{config.DEFAULT_PORT}.",
            WRONG_SETTINGS,
        )
    if found.scheme == "http" and not config.is_loopback(found.hostname):
        _say(
            f"The connection to {found.hostname} is not encrypted: everyone on the way can read it."
        )
    return f"{found.scheme}://{found.netloc}"


def _ask_token(address: str) -> str:
    if not sys.stdin or not sys.stdin.isatty():
        raise _Refused(
            f"--connect needs the token of {address}: --token-file FILE (it lies in the data folder as api_token).",
            WRONG_SETTINGS,
        )
    import getpass

    token = getpass.getpass(f"Token of {address} (in its data folder, api_token): ").strip()
    if not token:
        raise _Refused("Without the token there is no connection.", WRONG_SETTINGS)
    return token


def _check_address(loaded: LoadedSettings) -> None:
    settings = loaded.settings
    if not settings.is_remote:
        return
    if not settings.api_allow_remote:
        raise _Refused(
            f"API_HOST {settings.api_host!r} can be reached by other machines (from"
            f" {loaded.origin_in_words('api_host')}). Set API_ALLOW_REMOTE=true if that is wanted,"
            " or use 127.0.0.1.",
            WRONG_SETTINGS,
        )
    if settings.scheme == "http":
        _say(
            f"Other machines can reach {settings.api_host}, and HTTP is readable on the way:"
            " set TLS_CERT and TLS_KEY, or put a proxy with HTTPS in front."
        )


def _why_no_window() -> str:
    """Why no window can open here; empty when one can."""
    if sys.platform not in ("win32", "darwin") and not config.has_display():
        return "There is no display (DISPLAY is not set)."
    try:
        import tkinter
    except ImportError:
        return "This Python has no tkinter (on Debian and Ubuntu: apt install python3-tk)."
    try:
        # Costs 40 ms; without it a dead display would be found only when the window is half built.
        tkinter.Tk().destroy()
    except tkinter.TclError as error:
        return f"The display cannot be used ({error})."
    return ""


class _Stop:
    """Set when the program should end: by Ctrl-C, a request to terminate, or the end of a part of it.

    No `threading.Event`: a signal handler runs on the thread that waits, and would wait for ever for the event's lock
    when that thread holds it at the moment.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()  # may be put into from a signal handler
        self._also: Callable[[], object] | None = None

    def is_set(self) -> bool:
        """Whether the program should end."""
        return self._is_set

    def set(self) -> None:
        """End the waiting, and nothing more."""
        self._is_set = True
        self._wake.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is set or the time is over, on one thread only; whether it is set."""
        if not self._is_set:
            with contextlib.suppress(Empty):
                self._wake.get(timeout=timeout_s)
        return self._is_set

    def ask(self) -> None:
        """End the program soon; from any thread and from a signal handler."""
        self.set()
        if self._also is not None:
            self._also()

    def also(self, action: Callable[[], object]) -> None:
        """Call ``action`` as well when asked; at once when that has happened."""
        self._also = action
        if self.is_set():
            action()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to signals; a second Ctrl-C ends the program at once."""
        names = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")
        before = {}
        for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants it ignored
                before[number] = signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.is_set() and number == signal.SIGINT:
            os._exit(128 + number)
        self.ask()


def _say(line: str) -> None:
    """One line to the person at the terminal."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
