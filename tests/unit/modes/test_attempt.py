"""Somebody asks whether a mode works."""

from __future__ import annotations

import asyncio

import pytest

from backend.contracts.errors import ConflictError, ProviderError
from backend.modes import switch
from tests.fake_modes import House


async def test_a_mode_is_tried_without_being_chosen_and_says_what_it_found() -> None:
    house = House()
    await house.modes.start("auto")
    before = (await house.modes.state()).mode
    assert await house.modes.attempt("orphiq") == "it answers"
    assert (await house.modes.state()).mode == before
    await house.modes.close()


async def test_one_that_does_not_work_says_why_and_is_not_left_alone_for_it() -> None:
    house = House()
    await house.modes.start("auto")
    house.all[0].mood = "down"
    with pytest.raises(ProviderError, match="orphiq: unreachable"):
        await house.modes.attempt("orphiq")
    assert not any(each.is_resting for each in (await house.modes.state()).modes)
    await house.modes.close()


async def test_one_that_is_not_set_up_says_what_is_missing() -> None:
    house = House()
    await house.modes.start("auto")
    house.all[0].lacks = "ORPHIQ_WEBSOCKET_URL is not set."
    with pytest.raises(ConflictError, match="ORPHIQ_WEBSOCKET_URL"):
        await house.modes.attempt("orphiq")
    await house.modes.close()


async def test_one_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    await house.modes.start("auto")

    async def silent() -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(house.all[0], "probe", silent)
    monkeypatch.setattr(switch, "TRY_TIMEOUT_S", 0.01)
    with pytest.raises(ProviderError, match="did not answer within"):
        await house.modes.attempt("orphiq")
    await house.modes.close()
