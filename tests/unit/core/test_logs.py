"""Logging: what is written where, and that no secret gets through."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contracts.events import LogLine
from backend.core import clock, logs
from backend.core.bus import EventBus
from backend.core.context import TurnContext, current_turn
from backend.core.logs import HIDDEN, Logs, Redactor, start_logging

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs, "REDACTOR", Redactor([SECRET]))
    root = logging.getLogger()
    handlers, level, raising = [*root.handlers], root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    for name in logs.QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET)


def log_to(path: Path | None, **more: object) -> tuple[Logs, io.StringIO]:
    console = io.StringIO()
    return start_logging(path, console=console, **more), console  # type: ignore[arg-type]


def lines_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


printable = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]))
secrets = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=8, max_size=60
)


@given(secret=secrets, before=printable, after=printable)
def test_a_known_secret_never_gets_through(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]):
        clean = redactor.redact(f"{before}{form}{after}")
        assert secret not in clean.replace(HIDDEN, "\0") or secret in f"{before}\0{after}"


@given(secret=st.from_regex(r"[A-Za-z0-9_-]{20,48}", fullmatch=True), text=printable)
def test_what_looks_like_a_secret_never_gets_through(secret: str, text: str) -> None:
    redactor = Redactor()
    for form in (
        f"Authorization: Bearer {secret}",
        f"'authorization': 'Bearer {secret}'",
        f"sk-{secret}",
        f"http://127.0.0.1:8765/overlay?token={secret}&x=1",
        f"wss://host/ws?a=1&access_token={secret}",
        f"postgresql://luma:{secret}@db/luma",
        f"https://{secret}@host/path",
        f"Sec-WebSocket-Protocol: bearer.{secret}",
        f"x-api-key: {secret}",
        f'{{"api_key": "{secret}"}}',
        f"oauth:{secret.lower().replace('-', '0').replace('_', '0')}",
    ):
        hidden = secret.lower() if form.startswith("oauth") else secret
        clean = redactor.redact(f"{text} {form} {text}")
        assert hidden.replace("-", "0").replace("_", "0") not in clean or hidden in text
        assert secret not in clean or secret in text


@pytest.mark.parametrize(
    "text",
    [
        "turn 12: 3 sentences in 4,012 ms",
        "http://127.0.0.1:8765/api/turns?limit=20&before=77",
        "task-based and risk-averse, ask-me-anything",
        "the bearer of bad news",
        "mail ada@example.org, see https://example.org/a@b",
        "1 token, 20 tokens/s; first token: 180 ms",
        "C:\\Users\\Ada\\luma",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert Redactor().redact(text) == text


def test_a_secret_that_begins_like_another_leaves_no_end_behind() -> None:
    assert Redactor(["abcdef", "abcdef-ghijkl"]).redact("abcdef-ghijkl") == HIDDEN


def test_short_values_are_not_taken_for_secrets() -> None:
    assert Redactor(["you", ""]).redact("you know") == "you know"


def test_the_file_holds_json_lines_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "luma.jsonl"
    log, _ = log_to(path)
    try:
        raise ValueError(f"bad key {SECRET}")
    except ValueError:
        logging.getLogger("backend.chat.turn").exception("turn %s: %s", "t1", {"key": SECRET})
    log.close()
    [line] = lines_of(path)
    assert (line["level"], line["logger"]) == ("ERROR", "backend.chat.turn")
    assert line["message"].startswith("turn t1: ")
    assert "ValueError: bad key [hidden]" in line["traceback"]
    assert SECRET not in path.read_text()
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_of_a_turn_names_it(tmp_path: Path) -> None:
    log, _ = log_to(tmp_path / "l.jsonl")
    token = current_turn.set(TurnContext("t9", "stage"))
    logging.getLogger("backend.x").warning("hello")
    current_turn.reset(token)
    log.close()
    assert lines_of(tmp_path / "l.jsonl")[0]["turn_id"] == "t9"


def test_files_rotate_and_old_ones_go(tmp_path: Path) -> None:
    log, _ = log_to(tmp_path / "l.jsonl", max_bytes=2000, backups=2)
    for number in range(100):
        logging.getLogger("backend.x").warning("line %d %s", number, "x" * 50)
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.jsonl", "l.jsonl.1", "l.jsonl.2"]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert "line 99" in lines_of(tmp_path / "l.jsonl")[-1]["message"]


@pytest.mark.parametrize(
    "text",
    ["\udcff broken name", "日本語 😀", "two\nlines", "\x00"],
    ids=["surrogate", "emoji", "lines", "nul"],  # a lone surrogate cannot travel between processes
)
def test_odd_text_costs_no_line(tmp_path: Path, text: str) -> None:
    log, _ = log_to(tmp_path / "l.jsonl")
    logging.getLogger("backend.x").warning("%s", text)
    log.close()
    assert len(lines_of(tmp_path / "l.jsonl")) == 1


def test_wrong_arguments_of_a_log_call_cost_no_line(tmp_path: Path) -> None:
    log, _ = log_to(tmp_path / "l.jsonl")
    wrong = ("a",)
    logging.getLogger("backend.x").warning("%d of %d", *wrong)
    log.close()
    assert "%d of %d" in lines_of(tmp_path / "l.jsonl")[0]["message"]


def test_the_terminal_shows_a_traceback_only_to_who_asked(tmp_path: Path) -> None:
    for debug in (False, True):
        log, console = log_to(None, debug=debug)
        try:
            raise ValueError("no voice")
        except ValueError:
            logging.getLogger("backend.engines.tts.piper").exception("it failed")
        log.close()
        assert " ERROR   engines/tts/piper: it failed" in console.getvalue()
        assert "ValueError: no voice" in console.getvalue()
        assert ("Traceback" in console.getvalue()) is debug


def test_a_folder_that_cannot_be_written_costs_the_file_only(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    log, console = log_to(tmp_path / "taken" / "luma.jsonl")
    logging.getLogger("backend.x").warning("still here")
    log.close()
    assert "There is no log file" in console.getvalue()
    assert "still here" in console.getvalue()


def test_noise_of_libraries_is_quiet_unless_debugging() -> None:
    log, console = log_to(None)
    logging.getLogger("httpx").info("HTTP Request")
    logging.getLogger("uvicorn.error").info("connection open")
    logs.set_level("INFO", debug=True)
    logging.getLogger("httpx").info("now wanted")
    log.close()
    assert console.getvalue().count("\n") == 1
    assert "now wanted" in console.getvalue()


def test_what_nobody_caught_is_logged(tmp_path: Path) -> None:
    log, _ = log_to(tmp_path / "l.jsonl")

    def fail() -> None:
        raise RuntimeError(f"lost {SECRET}")

    thread = threading.Thread(target=fail, name="worker-7")
    thread.start()
    thread.join()
    log.close()
    [line] = lines_of(tmp_path / "l.jsonl")
    assert "worker-7" in line["message"]
    assert "RuntimeError: lost [hidden]" in line["traceback"]


async def events_of(count: int, bus: EventBus) -> list[LogLine]:
    found: list[LogLine] = []
    with bus.subscribe() as subscription:
        async with asyncio.timeout(5):
            async for event in subscription:
                assert isinstance(event, LogLine)
                found.append(event)
                if len(found) == count:
                    break
    return found


async def test_lines_become_events_from_any_thread() -> None:
    log, _ = log_to(None)
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    detach = logs.attach(bus)
    wait = asyncio.create_task(events_of(2, bus))
    await asyncio.sleep(0)
    logging.getLogger("backend.chat.turn").warning("key %s", SECRET)
    await asyncio.to_thread(logging.getLogger("backend.engines.stt.whisper").error, "gone")
    first, second = await wait
    detach()
    log.close()
    assert (first.severity, first.source, first.text) == ("WARNING", "chat", "key [hidden]")
    assert (second.severity, second.source, second.text) == ("ERROR", "engines/stt/whisper", "gone")
    assert not first.durable


async def test_a_flood_is_bounded_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    time_s = [100.0]
    monkeypatch.setattr(clock, "monotonic_s", lambda: time_s[0])
    log, _ = log_to(None)
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    detach = logs.attach(bus)
    wait = asyncio.create_task(events_of(logs.BURST_LINES + 2, bus))
    await asyncio.sleep(0)
    for number in range(logs.BURST_LINES + 500):
        logging.getLogger("backend.x").warning("line %d", number)
    time_s[0] += 1
    logging.getLogger("backend.x").warning("after")
    found = await wait
    detach()
    log.close()
    assert found[-2].text == "500 lines were left out; the file has them"
    assert found[-1].text == "after"


async def test_logging_while_publishing_does_not_go_round() -> None:
    log, console = log_to(None)

    class Chatty(EventBus):
        def publish_from_thread(self, event: object) -> None:
            logging.getLogger("backend.core.bus").warning("publishing")

    detach = logs.attach(Chatty())
    logging.getLogger("backend.x").warning("once")
    detach()
    log.close()
    assert console.getvalue().count("\n") == 2


def test_nobodys_text_commands_the_terminal_or_poses_as_a_line() -> None:
    opened, console = log_to(None)
    logging.getLogger("x").warning("hi \x1b[2J\x9b\u202e\r12:00:00 ERROR\n12:00:00 ERROR forged")
    opened.close()
    said = console.getvalue()
    assert not any(sign in said for sign in "\x1b\x9b\u202e\r")
    assert "\\x1b[2J" in said
    assert [line[:2] for line in said.splitlines()[1:]] == ["  "]


def test_a_secret_at_the_place_where_a_long_line_is_cut_leaves_no_half(tmp_path: Path) -> None:
    opened, _ = log_to(tmp_path / "log")
    logging.getLogger("x").warning("%s", "a" * (logs.LONGEST_LINE - 6) + SECRET)
    opened.close()
    (line,) = lines_of(tmp_path / "log")
    assert line["message"].endswith("a" + HIDDEN[:6])


@pytest.mark.parametrize(
    "piece", ["a.", "a-", "a+", "a", "://", "a://", "bearer ", "token=", "?key="]
)
def test_no_text_keeps_the_redactor_busy(piece: str) -> None:
    text = (piece * 80_000)[:80_000]
    began_s = clock.monotonic_s()
    logs.redact(text)
    assert clock.monotonic_s() - began_s < 2  # it was 15 s; linear is 0.02 s
