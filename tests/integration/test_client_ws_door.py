"""Who gets in at /client-ws: with the token everybody, without it the clients of this machine, when they are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import websockets

from backend.audio.wav import to_wav
from tests.integration.conftest import Served, serve
from tests.integration.vtuber import kinds, vtuber

PAGE = "http://127.0.0.1:3000"
FILES = "file://"
NOBODY: dict[str, str] = {}


@pytest.fixture(scope="module")
def open_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A backend that lets clients of this machine in, and two kinds of pages."""
    yield from serve(
        tmp_path_factory.mktemp("open"), compatible_clients=True, cors_origins=(PAGE, FILES)
    )


@pytest.fixture(scope="module")
def picture(open_door: Served) -> str:
    """A background that is there."""
    folder: Path = open_door.app.state.backend.clients.backgrounds
    folder.mkdir(parents=True)
    (folder / "sea at night.jpg").write_bytes(b"\xff\xd8\xff\xe0 not looked at")
    (folder / "notes.txt").write_text("private")
    (folder.parent / "secret.jpg").write_text("private")
    (folder / "link.jpg").symlink_to(folder.parent / "api_token")
    return "sea at night.jpg"


async def status(served: Served, headers: dict[str, str], **options: object) -> int:
    """101 when the socket opens, else what it is refused with."""
    try:
        async with vtuber(served, headers=headers, **options):  # type: ignore[arg-type]  # passed on
            return 101
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


async def test_without_the_setting_the_token_is_needed(served: Served) -> None:
    assert await status(served, NOBODY) == 401
    assert await status(served, served.bearer) == 101
    with served.stranger() as stranger:
        for path in ("/bg/x.jpg", "/avatars/hoshi.png", "/live2d-models/info"):
            assert stranger.get(path).status_code == 401
        assert stranger.post("/asr", files={"file": b"x"}).status_code == 401


@pytest.mark.parametrize("headers", [NOBODY, {"Origin": PAGE}, {"Origin": FILES}])
async def test_with_it_programs_and_listed_pages_of_this_machine_come_in(
    open_door: Served, headers: dict[str, str]
) -> None:
    async with vtuber(open_door, headers=headers) as client:
        assert "audio" in kinds(await client.ask("hello"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Authorization": "Bearer " + "x" * 43},
        {"Authorization": "Basic Zm9vOmJhcg=="},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Sec-WebSocket-Protocol": "bearer.wrong"},
    ],
    ids=str,
)
async def test_with_it_strangers_stay_outside(open_door: Served, headers: dict[str, str]) -> None:
    assert await status(open_door, headers) in (401, 403)


async def test_without_the_token_nothing_but_its_socket_files_and_asr_is_open(
    open_door: Served, picture: str
) -> None:
    with open_door.stranger() as stranger:
        assert stranger.get("/live2d-models/info").json()["characters"] == []
        assert stranger.get(f"/bg/{picture}").headers["content-type"] == "image/jpeg"
        for path in ("/api/status", "/api/characters", "/openapi.json", "/docs", "/asr"):
            assert stranger.get(path).status_code == 401, path
        assert stranger.post("/api/chat", json={"message": "x"}).status_code == 401
        assert stranger.post("/bg/x.jpg").status_code == 401
        for path in (
            "/live2d-models/mao/mao.model3.json",
            "/bg/nothing.png",
            "/avatars/nobody.png",
        ):
            assert stranger.get(path).status_code == 404, path
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(open_door.socket_url, proxy=None):
            pass


def test_pictures_are_read_from_their_folder_and_by_pages_that_are_listed(
    open_door: Served, picture: str
) -> None:
    with open_door.stranger() as stranger:
        seen = stranger.get(f"/bg/{picture}", headers={"Origin": PAGE})
        assert seen.headers["access-control-allow-origin"] == PAGE
        assert seen.headers["cross-origin-resource-policy"] == "cross-origin"
        for name in ("notes.txt", "link.jpg", "..%2Fsecret.jpg", "%2e%2e/secret.jpg", ".jpg"):
            assert stranger.get(f"/bg/{name}").status_code == 404, name
        assert stranger.get("/avatars/hoshi.png").headers["content-type"] == "image/png"
        assert stranger.get("/avatars/..%2f..%2fapi_token.png").status_code == 404
        assert stranger.get(f"/bg/{picture}", headers={"Origin": "http://evil.example"}).status_code == 403  # fmt: skip


async def test_the_listed_backgrounds_are_the_pictures_that_can_be_fetched(
    open_door: Served, picture: str
) -> None:
    async with vtuber(open_door, headers=NOBODY) as client:
        await client.say("fetch-backgrounds")
        assert (await client.next())["files"] == [picture]


def test_asr_reads_a_sound_file(open_door: Served) -> None:
    with open_door.stranger() as stranger:
        sound = to_wav(b"\x00\x20\x00\xe0" * 8000, 16_000)
        answer = stranger.post("/asr", files={"file": ("a.wav", sound, "audio/wav")})
        assert answer.json() == {"text": "Hello there."}
        assert stranger.post("/asr", files={"file": ("a.wav", b"junk")}).status_code == 422
        assert stranger.post("/asr").status_code == 422


@pytest.mark.parametrize(
    "kind",
    [
        "expression-command",
        "motion-command",
        "text-generation-request",
        "set-backend-mode",
        "get-backend-mode",
        "twitch-connect",
        "twitch-disconnect",
    ],
)
async def test_what_reaches_the_stage_needs_the_token(open_door: Served, kind: str) -> None:
    async with vtuber(open_door, headers=NOBODY) as client:
        await client.say(kind, expression_id=0, mode="autonomous", prompt="x", channel="x")
        assert "needs the API token" in await client.error()


async def test_a_page_finds_its_histories_again_after_a_reload_and_no_others(
    open_door: Served,
) -> None:
    async with vtuber(open_door, uid="somebody") as trusted:
        await trusted.ask("a secret")
        await trusted.say("fetch-history-list")
        secret = (await trusted.until("history-list"))["histories"][0]["uid"]
    async with vtuber(open_door, headers={"Origin": PAGE}) as page:
        await page.ask("from the page")
    async with vtuber(open_door, headers={"Origin": PAGE}) as again:
        await again.say("fetch-history-list")
        listed = (await again.until("history-list"))["histories"]
        assert [history["latest_message"]["content"] for history in listed] == [
            "from the page"
        ] or (listed[0]["latest_message"]["content"] == "from the page")
        assert secret not in [history["uid"] for history in listed]
        await again.say("fetch-and-set-history", history_uid=listed[0]["uid"])
        assert len((await again.until("history-data"))["messages"]) == 2
        await again.say("fetch-and-set-history", history_uid=secret)
        assert "no history" in await again.error()
        await again.say("delete-history", history_uid=secret)
        assert (await again.until("history-deleted"))["success"] is False
    async with vtuber(open_door, headers={"Origin": FILES}) as other:
        await other.say("fetch-history-list")
        texts = [
            h["latest_message"]["content"] for h in (await other.until("history-list"))["histories"]
        ]
        assert "from the page" not in texts


async def test_a_name_that_somebody_with_the_token_has_is_another_one_without_it(
    open_door: Served,
) -> None:
    async with vtuber(open_door, uid="studio") as trusted:
        await trusted.ask("a secret")
        async with vtuber(open_door, headers=NOBODY, uid="studio") as stranger:
            assert stranger.uid != trusted.uid
            await stranger.say("fetch-history-list")
            assert (await stranger.until("history-list"))["histories"] == []
            await stranger.say("add-client-to-group", invitee_uid=trusted.uid)
            assert (await stranger.until("group-operation-result"))["success"] is False
        assert not await trusted.nothing_more()


async def test_switching_the_setting_off_shows_them_out_and_keeps_those_with_the_token(
    tmp_path: Path,
) -> None:
    for served in serve(tmp_path, compatible_clients=True):
        with served.client() as api:
            async with vtuber(served, headers=NOBODY) as stranger, vtuber(served) as trusted:
                change = {"values": {"COMPATIBLE_CLIENTS": False}}
                await asyncio.to_thread(partial(api.post, "/api/config", json=change))
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await stranger.next()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4001
                assert "audio" in kinds(await trusted.ask("hello"))
                assert await status(served, NOBODY) == 401


async def test_more_clients_than_may_be_are_shown_out(
    open_door: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.api import client_door

    monkeypatch.setattr(client_door, "MOST_CLIENTS", 1)
    async with vtuber(open_door):
        async with vtuber(open_door, welcomed=False) as second:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await second.next()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013


async def test_the_status_says_who_is_connected(open_door: Served) -> None:
    with open_door.client() as api:
        async with vtuber(open_door):
            services = api.get("/api/status").json()["services"]
            found = next(each for each in services if each["name"] == "client-ws")
            assert found["detail"].startswith("1 connected")
            assert "Live2D" in found["detail"]


def test_a_foreign_page_cannot_even_show_a_picture(tmp_path: Path) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    for served in serve(tmp_path, compatible_clients=True, cors_origins=(PAGE,)):
        with served.stranger() as stranger:
            assert stranger.get("/avatars/hoshi.png", headers=foreign).status_code == 401
            near = {"Sec-Fetch-Site": "same-site"}
            assert stranger.get("/avatars/hoshi.png", headers=near).status_code == 200


def test_a_proxy_of_another_name_lets_nobody_in(tmp_path: Path) -> None:
    for served in serve(tmp_path, compatible_clients=True, allowed_hosts=("luma.example",)):
        with httpx.Client(base_url=served.url, trust_env=False) as proxy:
            host = {"Host": "luma.example"}
            assert proxy.get("/live2d-models/info", headers=host).status_code == 401
            assert proxy.get("/live2d-models/info").status_code == 200
