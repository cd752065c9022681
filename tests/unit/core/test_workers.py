"""Engines live in processes of their own: what goes wrong there costs the call that did it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import psutil
import pytest

from backend.contracts.entities import ServiceInfo
from backend.contracts.errors import EngineFailedError, EngineUnavailableError, ProviderError
from backend.core import clock, engine_wire, workers
from backend.core.workers import EngineHost, Warm

HERE = "tests.host_functions"
ECHO = f"{HERE}:echo"


@pytest.fixture
async def host() -> AsyncIterator[EngineHost]:
    host = EngineHost()
    yield host
    await host.stop()


async def until(path: Path) -> None:
    """Wait for a file that a function in the other process makes."""
    async with asyncio.timeout(10):
        while not path.exists():
            await asyncio.sleep(0.005)


async def gone(pid: int) -> None:
    """Wait for the end of a process."""
    async with asyncio.timeout(10):
        with suppress(psutil.NoSuchProcess):  # between the two questions
            while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.01)


# --- values ---


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        1.5,
        "ü",
        b"\0\xff",
        [],
        {"a": [1, {"b": b"x"}]},
        [b"", b"yy"],
        b"z" * 3_000_000,
    ],
)
async def test_values_cross_and_come_back(host: EngineHost, value: object) -> None:
    assert await host.call(ECHO, value, timeout_s=20) == value


async def test_a_value_that_cannot_cross_is_named(host: EngineHost) -> None:
    with pytest.raises(EngineFailedError, match="not JSON serializable"):
        await host.call(f"{HERE}:give_an_object", timeout_s=20)


async def test_errors_of_ours_arrive_as_themselves(host: EngineHost) -> None:
    with pytest.raises(EngineUnavailableError, match="There is no voice"):
        await host.call(f"{HERE}:raise_unavailable", timeout_s=20)
    with pytest.raises(ProviderError, match="slow down") as caught:
        await host.call(f"{HERE}:raise_provider")
    assert (caught.value.kind, caught.value.provider) == ("rate", "someone")
    assert caught.value.retry_after_s == 2.5


async def test_an_unforeseen_error_names_the_engine_and_what_happened(host: EngineHost) -> None:
    with pytest.raises(EngineFailedError, match="host_functions failed: ValueError: seven is not"):
        await host.call(f"{HERE}:raise_value_error", timeout_s=20)


async def test_a_missing_package_says_what_to_install(host: EngineHost) -> None:
    with pytest.raises(EngineUnavailableError, match="pip install a_package_that_is_not_there"):
        await host.call(f"{HERE}:need_a_package", timeout_s=20)


async def test_what_a_library_prints_does_not_disturb(host: EngineHost) -> None:
    assert await host.call(f"{HERE}:print_a_lot", timeout_s=20) == "still here"
    assert await host.call(ECHO, 1) == 1


# --- crashes ---


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("segfault", "SIGSEGV" if sys.platform != "win32" else "crashed"),
        ("leave", "exit code 3"),
    ],
)
async def test_a_crash_costs_its_call_and_the_next_works(
    host: EngineHost, function: str, words: str
) -> None:
    with pytest.raises(EngineFailedError, match=f"host_functions crashed.*{words}"):
        await host.call(f"{HERE}:{function}", timeout_s=20)
    assert await host.call(ECHO, "alive", timeout_s=20) == "alive"


async def test_a_killed_process_is_replaced_before_anybody_asks(host: EngineHost) -> None:
    before = await host.call(f"{HERE}:pid", timeout_s=20)
    os.kill(before, signal.SIGKILL)
    await gone(before)
    after = await host.call(f"{HERE}:pid", timeout_s=20)
    assert after != before


async def test_a_hang_ends_at_the_limit_and_the_next_works(host: EngineHost) -> None:
    await host.call(ECHO, 0, timeout_s=20)
    stuck = await host.call(f"{HERE}:pid")
    with pytest.raises(EngineFailedError, match=r"did not answer within 0\.5 s and was restarted"):
        await host.call(f"{HERE}:hang", timeout_s=0.5)
    assert await host.call(ECHO, "alive", timeout_s=20) == "alive"
    await gone(stuck)


@pytest.mark.skipif(sys.platform == "win32", reason="needs libc")
async def test_native_code_that_blocks_the_interpreter_is_ended_too(host: EngineHost) -> None:
    await host.call(ECHO, 0, timeout_s=20)
    with pytest.raises(EngineFailedError, match="was restarted"):
        await host.call(f"{HERE}:hang_with_the_interpreter", timeout_s=0.5)
    assert await host.call(ECHO, "alive", timeout_s=20) == "alive"


async def test_a_hang_does_not_fail_the_calls_beside_it(host: EngineHost, tmp_path: Path) -> None:
    await host.call(ECHO, 0, timeout_s=20)
    go = tmp_path / "go"
    beside = asyncio.create_task(
        host.call(f"{HERE}:touch_and_wait", str(tmp_path / "began"), str(go), timeout_s=20)
    )
    await until(tmp_path / "began")
    with pytest.raises(EngineFailedError):
        await host.call(f"{HERE}:hang", timeout_s=0.5)
    go.touch()
    assert await beside == str(go)


async def test_calls_that_were_only_waiting_survive_a_crash(
    host: EngineHost, tmp_path: Path
) -> None:
    busy = [
        asyncio.create_task(
            host.call(f"{HERE}:touch_and_hang", str(tmp_path / f"{n}"), timeout_s=20)
        )
        for n in range(workers.CHILD_THREADS)
    ]
    for n in range(workers.CHILD_THREADS):
        await until(tmp_path / f"{n}")
    waiting = asyncio.create_task(host.call(ECHO, "patient", timeout_s=20))
    await asyncio.sleep(0)
    [lane] = host.health()
    os.kill(int(lane.detail.removeprefix("process ")), signal.SIGKILL)
    assert await waiting == "patient"
    results = await asyncio.gather(*busy, return_exceptions=True)
    assert all(isinstance(result, EngineFailedError) for result in results)


async def test_an_engine_that_always_crashes_rests_and_then_recovers(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = clock.monotonic_s()
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s)
    for _ in range(workers.PATIENCE):
        with pytest.raises(EngineFailedError, match="crashed"):
            await host.call(f"{HERE}:leave", timeout_s=20)
    with pytest.raises(EngineFailedError, match="3 times in a row and rests"):
        await host.call(ECHO, 1, timeout_s=20)
    assert host.health()[0].state == "failed"
    now_s += workers.LONGEST_PAUSE_S
    assert await host.call(ECHO, 1, timeout_s=20) == 1
    assert host.health()[0].state == "ready"


async def test_one_engine_s_crash_leaves_the_others_their_process(host: EngineHost) -> None:
    other = "backend.audio.wav:to_wav"
    await host.call(other, b"", 8000, timeout_s=20)
    details = {info.name: info.detail for info in host.health()}
    with pytest.raises(EngineFailedError):
        await host.call(f"{HERE}:leave", timeout_s=20)
    await host.call(other, b"", 8000, timeout_s=20)
    assert {i.name: i.detail for i in host.health()}["engine/wav"] == details["engine/wav"]


# --- leaving, warming, stopping ---


async def test_a_caller_that_leaves_costs_nothing(host: EngineHost, tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    leaving = asyncio.create_task(
        host.call(f"{HERE}:touch_and_wait", str(began), str(go), timeout_s=20)
    )
    await until(began)
    before = await host.call(f"{HERE}:pid")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    go.touch()
    assert await host.call(f"{HERE}:pid") == before


async def all_busy(host: EngineHost, folder: Path, go: Path) -> list[asyncio.Task[object]]:
    """Calls that have begun on every thread of the process, and end when ``go`` is there."""
    names = [folder / f"{n}" for n in range(workers.CHILD_THREADS)]
    busy = [
        asyncio.create_task(host.call(f"{HERE}:touch_and_wait", str(name), str(go), timeout_s=20))
        for name in names
    ]
    for name in names:
        await until(name)
    return busy


async def test_a_call_that_has_not_begun_when_its_caller_leaves_never_runs(
    host: EngineHost, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    busy = await all_busy(host, tmp_path, go)
    leaving = asyncio.create_task(host.call(f"{HERE}:touch", str(tmp_path / "ran"), timeout_s=20))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    last = asyncio.create_task(host.call(ECHO, 1, timeout_s=20))
    # The child reads the cancellation beside its work; told to go on sooner, it may begin what comes next before.
    await asyncio.sleep(0.5)
    go.touch()
    await asyncio.gather(*busy, last)
    assert not (tmp_path / "ran").exists()


async def test_a_call_that_was_left_before_it_began_does_not_end_the_process_later(
    host: EngineHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "START_S", 0.0)  # it has been there for long
    before = await host.call(f"{HERE}:pid", timeout_s=20)
    go = tmp_path / "go"
    busy = await all_busy(host, tmp_path, go)
    leaving = asyncio.create_task(host.call(ECHO, 1, timeout_s=1.0))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await asyncio.sleep(0.3)
    go.touch()
    await asyncio.gather(*busy)
    await asyncio.sleep(1.0)  # beyond its deadline
    assert await host.call(f"{HERE}:pid", timeout_s=20) == before


async def test_time_in_which_the_computer_slept_counts_for_nobody(
    host: EngineHost, tmp_path: Path
) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    before = await host.call(f"{HERE}:pid", timeout_s=20)
    call = asyncio.create_task(
        host.call(f"{HERE}:touch_and_wait", str(began), str(go), timeout_s=1.0)
    )
    await until(began)
    time.sleep(1.5 + workers.STOOD_STILL_S)
    await asyncio.sleep(0.2)
    go.touch()
    await call
    assert await host.call(f"{HERE}:pid", timeout_s=20) == before


async def test_a_hang_whose_caller_left_is_still_ended(host: EngineHost, tmp_path: Path) -> None:
    began = tmp_path / "began"
    leaving = asyncio.create_task(host.call(f"{HERE}:touch_and_hang", str(began), timeout_s=1.0))
    await until(began)
    stuck = await host.call(f"{HERE}:pid")
    leaving.cancel()
    await gone(stuck)
    assert await host.call(f"{HERE}:pid", timeout_s=20) != stuck


async def test_an_engine_is_warmed_again_after_a_crash(host: EngineHost, tmp_path: Path) -> None:
    calls = tmp_path / "calls"

    async def warmed(times: int) -> None:
        async with asyncio.timeout(20):
            while not calls.exists() or calls.stat().st_size < times:
                await asyncio.sleep(0.005)

    host.warm([Warm(f"{HERE}:count", (str(calls),))])
    await warmed(1)
    with pytest.raises(EngineFailedError):
        await host.call(f"{HERE}:leave")
    await warmed(2)


async def test_a_call_that_gives_up_while_the_model_loads_does_not_undo_the_loading(
    host: EngineHost, tmp_path: Path
) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    host.warm([Warm(f"{HERE}:touch_and_wait", (str(began), str(go)))])
    await until(began)
    before = await host.call(f"{HERE}:pid")
    with pytest.raises(EngineFailedError, match="still loading"):
        await host.call(f"{HERE}:hang", timeout_s=0.5)
    assert await host.call(f"{HERE}:pid") == before
    go.touch()


async def test_changes_of_state_are_told(tmp_path: Path) -> None:
    told: list[ServiceInfo] = []
    host = EngineHost(on_change=told.append)
    await host.call(ECHO, 0, timeout_s=20)
    with pytest.raises(EngineFailedError):
        await host.call(f"{HERE}:leave")
    await host.call(ECHO, 0, timeout_s=20)
    await host.stop()
    assert [info.state for info in told] == ["starting", "ready", "starting", "degraded", "ready"]
    assert "exit code 3" in told[2].error


async def test_stopping_fails_what_runs_and_leaves_no_process(host: EngineHost) -> None:
    pid = await host.call(f"{HERE}:pid", timeout_s=20)
    running = asyncio.create_task(host.call(f"{HERE}:hang", timeout_s=20))
    await asyncio.sleep(0)
    await host.stop()
    with pytest.raises(EngineFailedError, match="stopped"):
        await running
    assert not psutil.pid_exists(pid)
    with pytest.raises(EngineFailedError, match="stopping"):
        await host.call(ECHO, 1)


async def test_no_key_reaches_an_engine(host: EngineHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-engines")
    monkeypatch.setenv("LUMA_TOKEN", "secret")
    environment = await host.call(f"{HERE}:environment", timeout_s=20)
    assert "PATH" in {name.upper() for name in environment}
    assert not [name for name in environment if "KEY" in name or "TOKEN" in name]


async def test_an_engine_process_loads_nothing_of_the_app(host: EngineHost) -> None:
    loaded = set(await host.call(f"{HERE}:modules", timeout_s=20))
    assert not loaded & {"pydantic", "numpy", "torch", "fastapi", "config", "backend.core.workers"}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_engines_end_when_the_backend_is_killed() -> None:
    script = (
        "import asyncio\n"
        "from backend.core.workers import EngineHost\n"
        "async def main():\n"
        "    host = EngineHost()\n"
        f"    print(await host.call('{HERE}:pid', timeout_s=20), flush=True)\n"
        f"    await host.call('{HERE}:hang', timeout_s=100)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=workers.ROOT, stdout=subprocess.PIPE
    ) as backend:
        assert backend.stdout is not None
        pid = int(await asyncio.to_thread(backend.stdout.readline))
        backend.kill()
    await gone(pid)


async def test_an_engine_that_need_not_stay_ends_and_comes_back(host: EngineHost) -> None:
    function = "tests.idle_functions:pid"
    first = await host.call(function, timeout_s=20)
    await gone(first)
    assert await host.call(function, timeout_s=20) != first
    assert not [info.error for info in host.health() if info.error]


async def test_what_an_engine_wants_first_is_there_before_its_first_calls(host: EngineHost) -> None:
    """Piper's first two sentences entered numpy by two doors at once, and one found it half made."""
    calls = [
        host.call("tests.idle_functions:is_imported", "colorsys", timeout_s=20) for _ in range(4)
    ]
    assert await asyncio.gather(*calls) == [True] * 4


@pytest.mark.parametrize("engine", ["tts.piper_host", "stt.whisper_host", "stt.sphinx_host"])
def test_engines_that_share_numpy_with_native_code_want_it_first(engine: str) -> None:
    assert "numpy" in import_module(f"backend.engines.{engine}").FIRST


async def test_no_call_is_lost_to_a_process_that_is_just_leaving(host: EngineHost) -> None:
    for n in range(15):  # pauses around the 30 ms after which it leaves
        assert await host.call("tests.idle_functions:pid", timeout_s=20)
        await asyncio.sleep(0.027 + n * 0.001)


async def test_plain_work_runs_on_a_thread() -> None:
    assert await workers.run_in_thread(sorted, [2, 1], reverse=True) == [2, 1]


# --- the wire ---


def test_a_frame_that_lies_about_its_size_is_refused() -> None:
    def lying(_: int) -> bytes:
        return engine_wire.PREFIX.pack(engine_wire.MAX_JSON_BYTES + 1, 0)

    with pytest.raises(engine_wire.WireError):
        engine_wire.read(lying)


@pytest.mark.parametrize("text", [b"{", b'{"\\u0000blob": 3}', b'{"\\u0000blob": "x"}', b"\xff"])
def test_a_frame_that_is_no_message_is_refused(text: bytes) -> None:
    frame = engine_wire.PREFIX.pack(len(text), 0) + text
    at = 0

    def read(count: int) -> bytes:
        nonlocal at
        at += count
        return frame[at - count : at]

    with pytest.raises(engine_wire.WireError):
        engine_wire.read(read)


def test_a_stream_that_breaks_off_ends_quietly() -> None:
    assert engine_wire.read(lambda _: None) is None
