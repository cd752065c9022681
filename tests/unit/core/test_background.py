"""Tasks nobody waits for: held while they run, heard when they fail, ended with their owner."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref

import pytest

from backend.core.background import Background

logger = logging.getLogger("owner")


async def _wait(on: asyncio.Event, then: list[str]) -> None:
    try:
        await on.wait()
        then.append("done")
    except asyncio.CancelledError:
        then.append("cancelled")
        raise


async def _fail() -> None:
    raise ValueError("a spring broke")


async def test_a_task_nobody_holds_is_not_thrown_away_while_it_runs():
    background, seen = Background(logger), list[str]()

    async def waits_for_itself_alone() -> None:
        # Only the task holds the event, and only the event holds the task: nothing outside this circle does.
        await _wait(asyncio.Event(), seen)

    task = weakref.ref(background.spawn(waits_for_itself_alone(), "waiting"))
    await asyncio.sleep(0)
    gc.collect()

    assert task() is not None
    assert len(background) == 1
    await background.close()


async def test_what_a_task_dies_of_stands_in_the_owners_log(caplog):
    background = Background(logger)

    with pytest.raises(ValueError, match="a spring broke"):
        await background.spawn(_fail(), "winding the clock")
    await asyncio.sleep(0)

    (record,) = caplog.records
    assert (record.name, record.levelname) == ("owner", "ERROR")
    assert record.getMessage() == "winding the clock stopped"
    assert record.exc_info is not None
    assert "a spring broke" in str(record.exc_info[1])
    assert len(background) == 0


async def test_closing_waits_until_every_task_has_ended(caplog):
    background, seen = Background(logger), list[str]()
    never = asyncio.Event()
    for name in ("one", "other"):
        background.spawn(_wait(never, seen), name)
    await asyncio.sleep(0)

    await background.close()

    assert seen == ["cancelled", "cancelled"]
    assert len(background) == 0
    assert not caplog.records, "being told to end is no error"


async def test_closing_does_not_raise_what_a_task_dies_of_meanwhile(caplog):
    background = Background(logger)

    async def fails_when_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await _fail()

    background.spawn(fails_when_cancelled(), "leaving")
    await asyncio.sleep(0)

    await background.close()

    assert [record.getMessage() for record in caplog.records] == ["leaving stopped"]


async def test_one_task_may_outlive_the_others():
    background, seen = Background(logger), list[str]()
    go = asyncio.Event()
    last = background.spawn(_wait(go, seen), "last")
    background.spawn(_wait(go, seen), "first")
    await asyncio.sleep(0)

    background.cancel(but=last)
    await asyncio.sleep(0)
    assert seen == ["cancelled"]

    go.set()
    await last
    assert seen == ["cancelled", "done"]


async def test_a_task_that_is_over_leaves_no_trace():
    background = Background(logger)

    async def at_once() -> None:
        return

    await background.spawn(at_once(), "quick")
    await asyncio.sleep(0)

    assert len(background) == 0
    await background.close()
