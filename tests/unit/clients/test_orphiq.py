"""A line to a server with the Open-LLM-VTuber protocol, against one that answers as recorded and misbehaves."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from backend.clients import orphiq
from backend.clients.orphiq import Line, Piece, Place, Waits
from backend.contracts.errors import AppError, EngineUnavailableError, ProviderError
from tests.servers.orphiq import SECRET, OrphiqServer, sound

HASTY = Waits(connect_s=2.0, first_s=0.3, between_s=0.3, answer_s=0.1, beat_s=10.0)
CALM = Waits(connect_s=5.0, first_s=10.0, between_s=10.0, answer_s=5.0)


@asynccontextmanager
async def line_to(
    server: OrphiqServer, waits: Waits = CALM, *, token: str = "", keeps_history: bool = True
) -> AsyncIterator[Line]:
    place = Place(server.url, token, waits, backoff_s=(0.01,))
    line = Line(place, keeps_history=keeps_history)
    try:
        yield line
    finally:
        await line.close()


@asynccontextmanager
async def stand(
    fault: str = "", waits: Waits = CALM, **options: object
) -> AsyncIterator[tuple[OrphiqServer, Line]]:
    async with OrphiqServer(fault=fault, **options) as server, line_to(server, waits) as line:  # type: ignore[arg-type]  # as given
        yield server, line
        assert server.errors == []


async def ask(line: Line, text: str = "hello") -> list[Piece]:
    async with aclosing(line.turn(text)) as pieces:
        return [piece async for piece in pieces]


def texts(pieces: list[Piece]) -> list[str]:
    return [piece.text for piece in pieces]


RECORDED = [
    "[joy] Hi there,",
    "nice to meet you.",
    "[sadness] Now I am sad!",
    "*waves* (thinking) Bye.",
]


# --- a turn as it was recorded ---


async def test_a_recorded_turn_comes_as_its_sentences_with_sound_and_named_faces() -> None:
    async with stand() as (_, line):
        pieces = await ask(line)
        assert texts(pieces) == RECORDED
        assert [piece.faces for piece in pieces] == [("joy",), (), ("fear",), ()]
        assert {piece.speaker for piece in pieces} == {"Mao"}
        assert [piece.sound.rate_hz for piece in pieces if piece.sound] == [24_000] * 4
        assert line.configuration.name == "mao_pro"
        assert line.configuration.client_uid == "client-1"


async def test_thinking_is_no_reply_and_a_text_without_any_voice_is_one() -> None:
    async with stand("only text") as (_, line):
        assert texts(await ask(line)) == ["I have no voice at all."]


async def test_the_server_waits_until_it_is_told_that_all_was_heard() -> None:
    async with stand() as (server, line):
        await ask(line)
        assert not server.said("frontend-playback-complete")
        await line.played()
        await server.until(lambda: bool(server.said("frontend-playback-complete")))
        assert texts(await ask(line, "again")) == RECORDED
        assert len(server.said("frontend-playback-complete")) == 1, "one for each turn"


async def test_a_turn_nobody_listened_to_is_acknowledged_before_the_next_one() -> None:
    async with stand() as (server, line):
        await ask(line)
        assert texts(await ask(line, "again")) == RECORDED
        kinds = [message["type"] for _, message in server.heard]
        assert kinds.index("frontend-playback-complete") < len(kinds) - 1
        assert kinds[-1] == "text-input"


async def test_what_was_heard_of_a_cut_turn_is_told_and_nothing_of_it_is_in_the_next() -> None:
    async with stand("never ends") as (server, line):
        async with aclosing(line.turn("hello")) as pieces:
            assert (await anext(pieces)).text == RECORDED[0]
        await line.interrupted("Hi there,")
        server.fault = ""
        assert texts(await ask(line, "again")) == RECORDED
        assert server.said("interrupt-signal") == [
            {"type": "interrupt-signal", "text": "Hi there,"}
        ]
        assert server.connections == 1


@pytest.mark.parametrize("closes", [False, True])
async def test_late_messages_of_a_cut_turn_are_left_aside(closes: bool) -> None:
    async with stand("late") as (server, line):
        server.closes_what_it_cuts = closes
        server.hush_s = 0.02
        for _ in range(3):
            async with aclosing(line.turn("hello")) as pieces:
                assert (await anext(pieces)).text == RECORDED[0]
            await line.interrupted("Hi")
            server.hush_s = 0.0
            assert texts(await ask(line, "again")) == RECORDED
            await line.played()
        assert server.connections == 1


async def test_a_turn_taken_back_before_it_began_is_answered_by_nobody() -> None:
    async with stand("silent") as (server, line):
        async with aclosing(line.turn("never mind")) as pieces:
            waiting = asyncio.ensure_future(anext(pieces))
            await server.until(lambda: bool(server.said("text-input")))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await line.interrupted("")
        server.fault = ""
        assert texts(await ask(line)) == RECORDED
        assert server.connections == 2, "whatever still came for the first arrived nowhere"


async def test_who_leaves_without_a_word_stops_the_turn_all_the_same() -> None:
    async with stand("never ends", HASTY) as (server, line):
        async with aclosing(line.turn("hello")) as pieces:
            await anext(pieces)
        await server.until(lambda: bool(server.said("interrupt-signal")))


async def test_sentences_that_others_of_a_group_hear_are_none_of_ours() -> None:
    async with stand("forwards") as (_, line):
        assert texts(await ask(line)) == RECORDED


async def test_an_empty_turn_ends() -> None:
    async with stand("nothing") as (_, line):
        assert await ask(line) == []


# --- sound ---


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3])
async def test_linear_sound_of_any_kind_is_read(width: int, channels: int, rate_hz: int) -> None:
    async with stand() as (server, line):
        server.reply = server.reply[:1]
        server.sound = lambda: sound(0.05, rate_hz=rate_hz, width=width, channels=channels)
        heard = (await ask(line))[0].sound
        assert heard is not None
        assert heard.rate_hz == rate_hz
        assert heard.duration_s == pytest.approx(0.05)


async def test_sound_that_cannot_be_read_leaves_its_text() -> None:
    async with stand("bad sound") as (_, line):
        pieces = await ask(line)
        assert texts(pieces) == [f"Sentence {n}." for n in range(5)]
        assert [piece.sound for piece in pieces] == [None] * 5


async def test_a_server_without_a_voice_sends_text_alone() -> None:
    async with stand("no sound") as (_, line):
        pieces = await ask(line)
        assert (texts(pieces), pieces[0].sound) == (RECORDED, None)


# --- failures ---


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("error", "server", "could not answer"),
        ("spoken error", "server", "could not answer"),
        ("silent", "stalled", "no part of the reply"),
        ("slow", "stalled", "no part of the reply"),
        ("never ends", "stalled", "no more came"),
        ("breaks off", "server", "in the middle"),
        ("huge", "malformed", "in one message"),
        ("endless nonsense", "malformed", "no messages that can be read"),
        ("no greeting", "malformed", "did not greet"),
        ("redirect", "request", "302"),
    ],
)
async def test_a_server_that_fails_ends_the_turn_with_words(
    fault: str, kind: str, words: str
) -> None:
    first_s = 0.2 if kind == "stalled" and fault != "never ends" else 8.0
    connect_s = 0.3 if fault == "no greeting" else 5.0
    waits = Waits(connect_s=connect_s, first_s=first_s, between_s=0.2, answer_s=0.2)
    async with stand(fault, waits) as (_, line):
        said: list[str] = []

        async def listen() -> None:
            async with asyncio.timeout(10), aclosing(line.turn("hello")) as pieces:
                async for piece in pieces:
                    said.append(piece.text)

        with pytest.raises(ProviderError, match=words) as failed:
            await listen()
        assert failed.value.kind == kind
        assert not any(SECRET in text for text in said), "an error is never something she says"


@pytest.mark.parametrize(
    "fault", ["error", "spoken error", "never ends", "breaks off", "huge", "endless nonsense"]
)
async def test_after_a_failure_the_next_turn_is_whole(fault: str) -> None:
    async with stand(fault, Waits(between_s=0.3, answer_s=2.0)) as (server, line):
        with pytest.raises(ProviderError):
            await ask(line)
        server.fault = ""
        assert texts(await ask(line, "again")) == RECORDED


async def test_messages_that_say_nothing_are_passed_over() -> None:
    async with stand("nonsense") as (_, line):
        pieces = await ask(line)
        assert [text for text in texts(pieces) if text] == RECORDED


@pytest.mark.parametrize("seed", range(6))
async def test_messages_with_wrong_fields_harm_neither_the_turn_nor_the_line(
    seed: int, fault_seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with stand("noise", seed=fault_seed + seed) as (server, line):
        for _ in range(2):
            pieces = await ask(line)
            assert [text for text in texts(pieces) if text.strip()] == RECORDED
            await line.played()
        assert server.connections == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_reply_of_any_length_waits_for_its_listener_and_comes_whole() -> None:
    async with stand() as (server, line):
        server.reply = [(f"Number {n}.", []) for n in range(3 * orphiq.MOST_HELD)]
        server.sound = lambda: None
        async with aclosing(line.turn("count")) as pieces:
            found = [await anext(pieces)]
            for _ in range(50):
                await asyncio.sleep(0)  # the server sends on; nobody takes
            found += [piece async for piece in pieces]
        assert texts(found) == [f"Number {n}." for n in range(3 * orphiq.MOST_HELD)]


async def test_what_waits_for_its_listener_is_bounded() -> None:
    chain = orphiq._Chain()
    for n in range(orphiq.MOST_HELD):
        await chain.put(Piece(str(n)))
    more = asyncio.create_task(chain.put(Piece("one more")))
    await asyncio.sleep(0)
    assert not more.done()
    assert (await chain.next()) == Piece("0")
    await more
    chain.drop()
    await chain.put(Piece("nobody takes it"))


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificate with openssl")
async def test_a_certificate_that_is_not_valid_is_refused_with_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=orphiq.test",
         "-addext", "subjectAltName=DNS:orphiq.test"],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    def trusts_it() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=certificate)

    async with OrphiqServer(tls=tls) as server:

        async def first(host: str) -> str:
            url = f"wss://{host}:{server.port}"
            line = Line(Place(url, waits=CALM, resolve=here, backoff_s=(0.01,)))
            try:
                return (await ask(line))[0].text
            finally:
                await line.close()

        with pytest.raises(ProviderError, match="certificate is not valid"):
            await first("orphiq.test")
        monkeypatch.setattr(orphiq, "ssl_context", trusts_it)
        assert await first("orphiq.test") == RECORDED[0]
        with pytest.raises(ProviderError, match="certificate is not valid"):
            await first("another.test")


async def test_a_port_where_nobody_listens_is_unreachable_and_says_which_setting() -> None:
    async with OrphiqServer() as server:
        await server.refuse()
        async with line_to(server, HASTY) as line:
            with pytest.raises(ProviderError, match="ORPHIQ_WEBSOCKET_URL") as failed:
                await ask(line)
            assert failed.value.kind == "unreachable"


# --- the connection ---


async def test_the_connection_comes_back_by_itself_and_takes_its_history_up_again() -> None:
    async with stand() as (server, line):
        await ask(line, "remember me")
        await line.played()
        port = server.port
        await server.refuse()
        with pytest.raises(ProviderError):
            await ask(line)
        await server.listen()
        assert server.port == port
        assert texts(await ask(line, "and now")) == RECORDED
        peer = server.peers[line.configuration.client_uid]
        assert peer.lines[0] == "remember me"
        assert server.said("fetch-and-set-history")


async def test_two_lines_never_share_a_memory() -> None:
    async with stand() as (server, one), line_to(server) as two:
        await asyncio.gather(ask(one, "mine"), ask(two, "yours"))
        lines = [server.peers[line.configuration.client_uid].lines for line in (one, two)]
        assert [each[0] for each in lines] == ["mine", "yours"]


async def test_forgetting_begins_a_new_history_there() -> None:
    async with stand() as (server, line):
        await ask(line, "secret")
        await line.played()
        await line.forget()
        await ask(line, "do you remember?")
        assert server.peers[line.configuration.client_uid].lines[0] == "do you remember?"


async def test_a_server_that_keeps_no_histories_is_talked_to_all_the_same() -> None:
    async with stand("no history", HASTY) as (_, line):
        assert texts(await ask(line)) == RECORDED


async def test_a_line_on_which_nobody_answers_a_sign_of_life_is_made_anew() -> None:
    waits = Waits(answer_s=0.05, beat_s=0.02)
    async with stand("deaf", waits) as (server, line):
        await ask(line)
        await line.played()
        await server.until(lambda: server.connections >= 2)
        assert len(server.said("heartbeat")) >= 2


async def test_a_line_that_rests_is_closed_and_opened_again_with_its_history() -> None:
    async with OrphiqServer() as server:
        waits = Waits(beat_s=0.01)
        line = Line(Place(server.url, waits=waits, idle_s=0.05))
        try:
            await ask(line, "remember me")
            await line.played()
            await server.until(lambda: not server.peers)
            assert not line.is_up
            await ask(line, "and now")
            assert server.peers[line.configuration.client_uid].lines[0] == "remember me"
        finally:
            await line.close()


async def test_only_the_token_that_was_set_for_it_is_sent_and_none_by_default() -> None:
    async with OrphiqServer(token="hers") as server:
        async with line_to(server) as line:
            with pytest.raises(ProviderError, match="ORPHIQ_TOKEN") as failed:
                await ask(line)
            assert failed.value.kind == "key"
            assert "authorization" not in server.headers[-1]
        async with line_to(server, token="hers") as line:
            assert await ask(line)
        assert "cookie" not in server.headers[-1]


async def test_a_probe_says_who_answers() -> None:
    async with stand() as (_, line):
        assert (await line.probe()).startswith("mao_pro at ws://127.0.0.1")
    async with stand("deaf", HASTY) as (_, line):
        with pytest.raises(ProviderError, match="heartbeat"):
            await line.probe()


async def test_a_closed_line_answers_nobody() -> None:
    async with stand() as (_, line):
        await ask(line)
        await line.close()
        with pytest.raises(AppError, match="closed"):
            await ask(line)


# --- addresses ---


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ws://127.0.0.1:12393", "ws://127.0.0.1:12393/client-ws"),
        ("http://there:1/", "ws://there:1/client-ws"),
        ("https://there/x", "wss://there/x"),
        (" ws://[::1]:5/client-ws ", "ws://[::1]:5/client-ws"),
    ],
)
def test_addresses_are_taken_as_they_are_meant(given: str, meant: str) -> None:
    assert orphiq.address_of(given) == meant


@pytest.mark.parametrize("given", ["", "127.0.0.1:1", "ftp://x", "ws://", "ws://me:pw@there"])
def test_what_is_no_address_says_which_setting_and_gives_an_example(given: str) -> None:
    with pytest.raises(EngineUnavailableError, match=r"ORPHIQ_WEBSOCKET_URL.*12393") as refused:
        orphiq.address_of(given)
    assert "pw" not in refused.value.message


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "224.0.0.1"])
async def test_a_name_that_leads_to_a_forbidden_address_is_not_connected_to(address: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [address]

    line = Line(Place("ws://example.test:80", waits=HASTY, resolve=resolve))
    try:
        with pytest.raises(ProviderError, match="never contacted"):
            await ask(line)
    finally:
        await line.close()


# --- what else a server can do ---


async def test_commands_are_forwarded_where_they_are_known() -> None:
    async with stand(knows=frozenset({"expression-command"})) as (_, line):
        assert await line.command("expression-command", expression_id="joy")
        with pytest.raises(ProviderError, match="there is joy"):
            await line.command("expression-command", expression_id="nope")


async def test_a_command_that_a_server_is_silent_about_is_not_sent_again() -> None:
    async with stand("", HASTY) as (server, line):
        for _ in range(2):
            assert not await line.command("motion-command", motion_group="Idle", motion_index=0)
        assert len(server.said("motion-command")) == 1


async def test_text_on_demand_comes_in_pieces_and_its_whole_only_once() -> None:
    async with stand(knows=frozenset({"text-generation-request"})) as (server, line):
        found = [text async for text in line.generate("gulls", {}, {"max_length": 50})]
        assert "".join(found) == "Written about gulls"
        assert len(found) == 3
        assert server.said("text-generation-request")[0]["options"] == {"max_length": 50}


async def test_a_server_that_writes_no_texts_is_asked_once() -> None:
    async with stand("", HASTY) as (server, line):
        for _ in range(2):
            with pytest.raises(EngineUnavailableError, match="text on demand"):
                _ = [text async for text in line.generate("gulls", {}, {})]
        assert len(server.said("text-generation-request")) == 1


async def test_a_text_that_stops_in_the_middle_is_an_error_and_the_line_goes_on() -> None:
    knows = frozenset({"text-generation-request"})
    async with stand("stalled text", HASTY, knows=knows) as (server, line):
        with pytest.raises(ProviderError, match="no more of the text"):
            _ = [text async for text in line.generate("gulls", {}, {})]
        server.fault = ""
        found = [text async for text in line.generate("ferries", {}, {})]
        assert "".join(found) == "Written about ferries"
