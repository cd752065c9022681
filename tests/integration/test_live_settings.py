"""Settings that may change while the program runs take effect with the next turn, on the path a user takes."""

from __future__ import annotations

import httpx

from tests.fakes import WritesText
from tests.integration.conftest import Served


def test_the_name_the_user_chose_reaches_the_character(served: Served, api: httpx.Client) -> None:
    engines = served.app.state.backend.engines
    engines.llm = mind = WritesText(["Hello."])
    assert api.post("/api/config", json={"values": {"USER_NAME": "Mika"}}).status_code == 200
    reply = api.post("/api/chat", json={"message": "hi", "speak": False}).json()
    assert mind.prompts[-1].author == "Mika"
    assert mind.prompts[-1].messages[-1].text == "Mika: hi"
    turn = api.get(f"/api/turns/{reply['turn_id']}").json()
    assert turn["author"] == "Mika"
