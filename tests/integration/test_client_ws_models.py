"""Live2D models at /client-ws: what a client is told of them, and the files that it fetches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import live2d_model
from tests.integration.conftest import Served, serve
from tests.integration.test_client_ws import asks
from tests.integration.vtuber import kinds, vtuber
from tests.servers.llm import LlmServer
from tests.servers.thread import ServerThread

PAGE = "http://127.0.0.1:3000"
RECORDED = Path(__file__).parent.parent / "fixtures" / "open_llm_vtuber_session.jsonl"


@pytest.fixture(scope="module")
def llm() -> Iterator[LlmServer]:
    server = LlmServer(
        reply="[Happy] How nice to see you. [surprise] What is that there! [neutral] Bye."
    )
    with ServerThread(server):
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, llm: LlmServer) -> Iterator[Served]:
    """A backend with a Live2D model, and a character that wears it."""
    folder = tmp_path_factory.mktemp("luma")
    rigs = folder / "data" / "rigs"
    live2d_model.write(rigs / "mimi")
    (rigs / "mimi" / "mimi.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (rigs / "mimi" / "notes.txt").write_text("private")
    (rigs / "mimi" / "run.js").write_text("alert(1)")
    (rigs / "mimi" / "out.png").symlink_to(folder / "data" / "api_token")
    (rigs / "mimi" / "rig.json").write_text(
        json.dumps(
            {
                "format": 1,
                "title": "Mimi",
                "kind": "live2d",
                "aliases": {"surprise": "Gape", "hello": "wave"},
            }
        )
    )
    for found in serve(
        folder,
        **asks(llm),
        compatible_clients=True,
        cors_origins=(PAGE,),
    ):
        with found.client() as client:
            answer = client.patch("/api/characters/hoshi", json={"rig": "mimi"})
            assert answer.status_code == 200, answer.text
        yield found


def recorded_info() -> dict[str, object]:
    """The model_info of a real server."""
    for line in RECORDED.read_text("utf-8").splitlines():
        message = json.loads(line)["msg"]
        if message["type"] == "set-model-and-conf":
            found: dict[str, object] = message["model_info"]
            return found
    raise AssertionError("the recording has no model")


async def test_a_client_is_told_of_the_model_as_the_recording_has_it(served: Served) -> None:
    async with vtuber(served, welcomed=False) as client:
        info = (await client.welcome())[2]["model_info"]
    recorded = recorded_info()
    assert {name: type(value) for name, value in info.items()} == {
        name: type(value) for name, value in recorded.items()
    }
    assert info["url"] == "/live2d-models/mimi/mimi.model3.json"
    assert info["name"] == "mimi"
    assert info["idleMotionGroupName"] == "Idle"
    assert info["tapMotions"] == {"HitAreaHead": {"Tap": 1}}
    # Numbers count in the model's own list: Happy, Narrow, Gape.
    words = info["emotionMap"]
    assert (words["happy"], words["narrow"], words["gape"], words["surprise"]) == (0, 1, 2, 2)
    assert words["joy"] == 0, "a word alike"
    assert "neutral" not in words, "the model has no such face"


async def test_sentences_bring_the_numbers_of_the_models_faces(served: Served) -> None:
    async with vtuber(served) as client:
        turn = await client.ask("hello")
    assert [message["actions"] for message in turn if message["type"] == "audio"] == [
        {"expressions": [0]},
        {"expressions": [2]},
        {},
    ], kinds(turn)


async def test_a_character_without_a_model_has_none(served: Served) -> None:
    async with vtuber(served) as client:
        await client.say("switch-config", file="rivet.yaml")
        assert (await client.until("set-model-and-conf"))["model_info"] is None
        await client.until("config-switched")
        turn = await client.ask("hello")
        first = next(message for message in turn if message["type"] == "audio")
        assert first["actions"] == {"expressions": ["joy"]}, "names, for a client with its own"
        await client.say("switch-config", file="hoshi.yaml")
        assert (await client.until("set-model-and-conf"))["model_info"]["name"] == "mimi"


def test_the_models_there_are_are_listed(served: Served) -> None:
    with served.stranger() as stranger:
        assert stranger.get("/live2d-models/info").json() == {
            "type": "live2d-models/info",
            "count": 1,
            "characters": [
                {
                    "name": "mimi",
                    "avatar": "/live2d-models/mimi/mimi.png",
                    "model_path": "/live2d-models/mimi/mimi.model3.json",
                }
            ],
        }


def test_a_page_fetches_everything_that_the_model_names(served: Served) -> None:
    with served.stranger() as stranger:
        asked = {"Origin": PAGE}
        answer = stranger.get("/live2d-models/mimi/mimi.model3.json", headers=asked)
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        files = answer.json()["FileReferences"]
        named = [files["Moc"], *files["Textures"], files["Physics"], files["Pose"]]
        named += [each["File"] for each in files["Expressions"]]
        named += [each["File"] for group in files["Motions"].values() for each in group]
        assert len(named) > 8
        for name in named:
            assert stranger.get(f"/live2d-models/mimi/{name}", headers=asked).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "mimi/notes.txt",
        "mimi/run.js",
        "mimi/out.png",
        "mimi/none.png",
        "mimi/%2e%2e/live2dcubismcore.min.js",
        "mimi/..%2f..%2fapi_token",
        "nori/nori.vrm",
        "hoshi/rig.json",
        "nobody/x.json",
        "%2e%2e/api_token",
    ],
)
def test_nothing_else_is_handed_out(served: Served, path: str) -> None:
    with served.stranger() as stranger:
        assert stranger.get(f"/live2d-models/{path}").status_code in (403, 404), path


def test_strangers_may_not_change_models(served: Served) -> None:
    with served.stranger() as stranger:
        for send in (stranger.post, stranger.put, stranger.delete):
            assert send("/live2d-models/mimi/mimi.png").status_code == 401
