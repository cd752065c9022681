"""Starting and stopping the real program, as a user would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.integration.program import ROOT, Program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One program for all tests that only look."""
    folder = tmp_path_factory.mktemp("start")
    with Program(folder / "data", "--headless", "--port", "0") as program:
        program.ready()
        yield program


def end_of(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Program:
    """A program that ends by itself."""
    with Program(folder / "data", *arguments, environment=environment) as program:
        program.ended()
        return program


def test_it_starts_answers_and_says_where(running: Program) -> None:
    url = running.ready()
    assert running.get("/api/health", with_token=False) == (200, b'{"status":"ok"}')
    address = json.loads((running.data_dir / "backend.json").read_text())
    assert address["url"] == url
    assert address["version"]
    assert f"Luma is ready at {url}" in running.said


def test_a_second_start_refuses_and_names_the_first(running: Program) -> None:
    with Program(running.data_dir, "--headless", "--port", "0") as second:
        assert second.ended() == 3
        assert running.ready() in second.said
        assert str(running.process.pid) in second.said
        assert second.said.count("\n") == 1
    assert running.get("/api/health", with_token=False)[0] == 200


def test_an_explicit_port_that_is_taken_is_an_error(running: Program, tmp_path: Path) -> None:
    port = running.ready().rpartition(":")[2]
    for program in (
        end_of(tmp_path, "--headless", "--port", port),
        end_of(tmp_path, "--headless", environment={"API_PORT": port}),
    ):
        assert program.process.returncode == 4
        assert f"Port {port} on 127.0.0.1 is taken" in program.said
        assert "Traceback" not in program.said


@pytest.mark.slow  # two programs
def test_the_default_port_moves_to_the_next_free_one(tmp_path: Path) -> None:
    try:
        holder: socket.socket | None = socket.create_server(("127.0.0.1", 8765))
    except OSError:
        holder = None  # somebody else holds it, which is as good
    with Program(tmp_path / "data", "--headless") as program:
        url = program.ready()
        assert not url.endswith(":8765")
        assert program.says(f"Port 8765 is taken; Luma listens on {url.rpartition(':')[2]} instead")
    if holder is not None:
        holder.close()


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_it_ends_cleanly_when_asked(tmp_path: Path, number: int) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip(
            "these tests were started with that signal ignored (nohup), and so is the program"
        )
    with Program(tmp_path / "data", "--headless", "--port", "0") as program:
        program.ready()
        address = program.ready().removeprefix("http://").split(":")
        # Clients that never let go must not hold it up.
        with socket.create_connection((address[0], int(address[1]))) as idle:
            idle.sendall(b"GET /api/health HTTP/1.1\r\nHost: 127")
            code, took_s = program.stop(number)
        assert code == 0, program.said
        assert took_s < 5
        assert not (program.data_dir / "backend.json").exists()
        assert "Traceback" not in program.said


@pytest.mark.slow
def test_asked_while_it_starts_it_ends_as_well(tmp_path: Path) -> None:
    with Program(tmp_path / "data", "--headless", "--port", "0") as program:
        lock = tmp_path / "data" / "luma.lock"
        deadline = time.monotonic() + 20
        while not lock.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.3)  # somewhere between the first import and the open database
        code, took_s = program.stop()
        assert code in (0, -signal.SIGTERM), program.said
        assert took_s < 5


@pytest.mark.slow  # two programs
def test_after_a_kill_the_next_start_works_with_the_same_token(tmp_path: Path) -> None:
    with Program(tmp_path / "data", "--headless", "--port", "0") as program:
        program.ready()
        token = (tmp_path / "data" / "api_token").read_text()
        program.process.kill()
        program.ended()
    assert (tmp_path / "data" / "backend.json").exists()
    with Program(tmp_path / "data", "--headless", "--port", "0") as program:
        program.ready()
        assert program.get("/api/status")[0] == 200
        assert (tmp_path / "data" / "api_token").read_text() == token
        assert program.stop()[0] == 0


def test_without_a_display_it_says_so_and_goes_on(tmp_path: Path) -> None:
    with Program(tmp_path / "data", "--port", "0") as program:
        url = program.ready()
        assert program.says("There is no display")
        assert program.says("without a window")
        assert program.says(url)
    with Program(tmp_path / "data2", "--port", "0", environment={"DISPLAY": ":987654"}) as program:
        program.ready()
        assert program.says("The display cannot be used")


@pytest.mark.parametrize(
    ("environment", "arguments", "name"),
    [
        ({"API_PORT": "lots"}, (), "API_PORT is 'lots' (from environment variable API_PORT)"),
        ({}, ("--port", "70000"), "API_PORT is '70000' (from the command line)"),
        ({"LLM_PROVIDER": "nobody"}, (), "LLM_PROVIDER is 'nobody'"),
        ({"OPENAI_API_KEY": "x", "TTS_CHAIN": "pipe"}, (), "TTS_CHAIN is 'pipe'"),
        ({}, ("--host", "0.0.0.0"), "API_ALLOW_REMOTE"),
        ({}, ("--host", "192.0.2.7"), "API_ALLOW_REMOTE"),
        ({"API_ALLOW_REMOTE": "true", "API_HOST": "192.0.2.7"}, (), "no address of this machine"),
        ({}, ("--connect", "ftp://x"), "is no address"),
    ],
)
def test_a_wrong_setting_is_one_clear_line_and_code_2(
    tmp_path: Path, environment: dict[str, str], arguments: tuple[str, ...], name: str
) -> None:
    program = end_of(tmp_path, "--headless", *arguments, environment=environment)
    assert program.process.returncode == 2
    lines = [line for line in program.said.splitlines() if "readable on the way" not in line]
    assert len(lines) == 1
    assert name in lines[0]


def test_a_weak_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "api_token").write_text("1234")
    program = end_of(tmp_path, "--headless", "--port", "0")
    assert program.process.returncode == 2
    assert "holds no usable token" in program.said


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    program = end_of(tmp_path, "--headless", "--port", "0")
    assert program.process.returncode == 1
    assert "--data-dir" in program.said
    assert program.said.count("\n") == 1


def test_an_open_address_starts_with_permission_and_a_warning(tmp_path: Path) -> None:
    environment = {"API_ALLOW_REMOTE": "true", "API_HOST": "0.0.0.0"}
    with Program(
        tmp_path / "data", "--headless", "--port", "0", environment=environment
    ) as program:
        program.ready()
        assert program.says("HTTP is readable on the way")
        assert program.get("/api/status", with_token=False)[0] == 401
        assert program.get("/api/status")[0] == 200


@pytest.mark.slow
def test_the_log_is_json_lines_without_the_token(tmp_path: Path) -> None:
    arguments = ("--headless", "--port", "0", "--log-level", "DEBUG")
    with Program(tmp_path / "data", *arguments) as program:
        program.ready()
        token = (tmp_path / "data" / "api_token").read_text().strip()
        program.get(f"/api/nothing?token={token}")
        program.get("/api/status")
        program.stop()
        lines = (tmp_path / "logs" / "luma.jsonl").read_text("utf-8").splitlines()
        assert lines
        assert all({"at", "level", "logger", "message"} <= set(json.loads(line)) for line in lines)
        assert token not in "\n".join(lines)
        assert token not in program.said


def test_settings_saved_through_the_api_are_there_after_a_restart(tmp_path: Path) -> None:
    with Program(tmp_path / "data", "--headless", "--port", "0") as program:
        status, answer = program.ask("POST", "/api/config", {"values": {"USER_NAME": "Ada"}})
        assert status == 200, answer
        program.stop()
    assert "user_name: Ada" in (tmp_path / "data" / "settings.yaml").read_text()
    with Program(tmp_path / "data", "--headless", "--port", "0") as program:
        assert b'"Ada"' in program.get("/api/config")[1]


@pytest.mark.slow
def test_it_runs_from_a_folder_with_spaces_and_umlauts(tmp_path: Path) -> None:
    copy = tmp_path / "lüma tëst 日本"
    ignore = shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", "tests", "data")
    shutil.copytree(ROOT, copy, ignore=ignore)
    environment = {"LC_ALL": "C", "LOGS_DIR": ""}
    with Program(
        copy / "dätä",
        "--headless",
        "--port",
        "0",
        folder=copy,
        cwd=tmp_path,
        environment=environment,
    ) as program:
        program.ready()
        assert program.get("/api/status")[0] == 200
        assert program.stop()[0] == 0, program.said
    assert (copy / "logs" / "luma.jsonl").exists()


def test_it_prints_its_version(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert answer.stdout.startswith("Luma ")


def test_attaching_without_a_display_says_that_it_needs_one(tmp_path: Path) -> None:
    program = end_of(tmp_path, "--connect", "http://127.0.0.1:1")
    assert program.process.returncode == 1
    assert "--connect needs one" in program.said


@pytest.mark.gui
@pytest.mark.skipif("DISPLAY" not in os.environ, reason="needs a display")
def test_the_window_closes_when_asked(tmp_path: Path) -> None:
    environment = {"DISPLAY": os.environ["DISPLAY"]}
    with Program(tmp_path / "data", "--port", "0", environment=environment) as program:
        program.ready()
        code, took_s = program.stop()
        assert code == 0, program.said
        assert took_s < 5
        assert "Traceback" not in program.said


@pytest.mark.gui
@pytest.mark.skipif("DISPLAY" not in os.environ, reason="needs a display")
@pytest.mark.slow
def test_a_first_start_with_a_window_has_nothing_to_complain_about(tmp_path: Path) -> None:
    environment = {"DISPLAY": os.environ["DISPLAY"]}
    with Program(tmp_path / "data", "--port", "0", environment=environment) as program:
        program.ready()
        log = tmp_path / "logs" / "luma.jsonl"
        end = time.monotonic() + 10
        # Looking for a tray is the last thing a start does; where there is one, it is silent.
        while time.monotonic() < end and "tray" not in log.read_text("utf-8"):
            time.sleep(0.1)
        assert program.stop()[0] == 0
    levels = {json.loads(line)["level"] for line in log.read_text("utf-8").splitlines()}
    assert levels <= {"DEBUG", "INFO"}, log.read_text("utf-8")


@pytest.mark.gui
@pytest.mark.skipif("DISPLAY" not in os.environ, reason="needs a display")
def test_attaching_needs_the_token(tmp_path: Path, running: Program) -> None:
    environment = {"DISPLAY": os.environ["DISPLAY"]}
    program = end_of(tmp_path, "--connect", running.ready(), environment=environment)
    assert program.process.returncode == 2
    assert "--token-file" in program.said


def is_connected(program: Program, other: Program) -> bool:
    port = urlsplit(other.ready()).port
    found = psutil.Process(program.process.pid).net_connections("tcp")
    return any(one.raddr and one.raddr.port == port for one in found)


@pytest.mark.gui
@pytest.mark.skipif("DISPLAY" not in os.environ, reason="needs a display")
def test_an_attached_window_leaves_the_backend_running(tmp_path: Path, running: Program) -> None:
    environment = {"DISPLAY": os.environ["DISPLAY"]}
    token_file = str(running.data_dir / "api_token")
    arguments = ("--connect", running.ready(), "--token-file", token_file)
    with Program(tmp_path / "data", *arguments, environment=environment) as window:
        deadline = time.monotonic() + 20
        while not is_connected(window, running):
            assert time.monotonic() < deadline, window.said
            time.sleep(0.02)
        code, took_s = window.stop()
        assert code == 0, window.said
        assert took_s < 5
        assert "Traceback" not in window.said
        assert not (tmp_path / "data" / "luma.db").exists()
        assert (tmp_path / "data" / "window-attached.json").is_file()
    assert running.get("/api/health", with_token=False)[0] == 200
