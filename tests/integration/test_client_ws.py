"""The Open-LLM-VTuber socket with a client of that project: its recorded session, its needs, its server's defects."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import statistics
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import websockets

from backend.audio.wav import read_wav
from tests.integration.conftest import Served, serve
from tests.integration.vtuber import Message, Vtuber, kinds, shown, vtuber
from tests.servers.llm import LlmServer
from tests.servers.orphiq import recorded
from tests.servers.speech import SpeechServer
from tests.servers.thread import ServerThread

REPLY = "[joy] Hi there, nice to meet you. [sadness] Now I am sad! Bye."
PLAIN = "Hi there, nice to meet you. Now I am sad! Bye."

CHAIN_START = "control conversation-chain-start"
CHAIN_END = "control conversation-chain-end"
TURN = [
    CHAIN_START,
    "full-text",
    "audio",
    "backend-synth-complete",
    "force-new-message",
    CHAIN_END,
]


@pytest.fixture(scope="module")
def llm() -> Iterator[LlmServer]:
    """A model that says what it is told to."""
    server = LlmServer(reply=REPLY)
    with ServerThread(server):
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, llm: LlmServer) -> Iterator[Served]:
    """A backend that asks it."""
    yield from serve(tmp_path_factory.mktemp("luma"), **asks(llm), context_tokens=1024)


def asks(llm: LlmServer) -> dict[str, Any]:
    """Settings to ask the model; the voice detector needs no process."""
    return {
        "llm_provider": "openai_compatible",
        "openai_compatible_url": f"{llm.url}/v1",
        "openai_compatible_model": "small-1",
        "llm_retries": 0,
        "asr_vad": "energy",
    }


@pytest.fixture(autouse=True)
def says_its_reply(llm: LlmServer) -> None:
    llm.reply, llm.fault, llm.token_s = REPLY, "", 0.0


def once(found: list[str]) -> list[str]:
    """Runs of the same made one: how many sentences a reply has is the model's business."""
    return [kind for kind, _ in groupby(found)]


# --- the recorded session ---


def expected(sent: Message, answers: list[Message]) -> list[str]:
    """The order of the recording, with what is different on purpose."""
    match sent.get("type"):
        case "interrupt-signal":
            return ["force-new-message", CHAIN_END]  # every chain that began is closed
        case "expression-command":
            return ["expression-ack"]
        case "switch-config" if sent["file"].startswith(".."):
            return ["error", "set-model-and-conf"]  # the client has unloaded its model
    return once(kinds(answers))  # also: backend-synth-complete comes once


async def test_the_recorded_session_is_met_in_order_and_fields(
    served: Served, llm: LlmServer
) -> None:
    fields: dict[str, set[str]] = {}
    async with vtuber(served, welcomed=False) as client:
        for sent, answers in recorded():
            if sent.get("type") == "interrupt-signal":
                continue  # it came in the middle of a turn: has a test of its own
            if sent.get("text") == "SLOW please":
                answers = [*answers, {"type": "force-new-message"}, {"type": "control", "text": "conversation-chain-end"}]  # fmt: skip
            wanted = expected(sent, answers)
            if sent.get("type") == "mic-audio-data":
                await client.speak(0.3)
                continue
            if sent.get("type") == "switch-config" and sent["file"].startswith("en_"):
                sent = {**sent, "file": "rivet.yaml"}
            if sent:
                await client.say(sent["type"], **{k: v for k, v in sent.items() if k != "type"})
            first = len(client.seen)
            while once(kinds(client.seen[first:])) != wanted:
                found = once(kinds(client.seen[first:]))
                assert found == wanted[: len(found)], sent
                await client.next()
            for answer in answers:
                fields.setdefault(answer["type"], set()).update(answer)
            if "control conversation-chain-end" in wanted:
                shown_text = shown(client.seen[first:])
                assert shown_text == PLAIN + " ", "tags never reach a subtitle"
        assert not await client.nothing_more()
    for message in client.seen:
        own = set(message)
        if message["type"] in ("expression-ack", "heartbeat-ack"):
            continue
        if message["type"] == "set-model-and-conf":
            own.add("client_uid")  # not in those that follow a switch, as in the recording
        assert own == fields[message["type"]], message["type"]


async def test_what_the_recording_shows_of_each_message_is_here_too(served: Served) -> None:
    async with vtuber(served, welcomed=False) as client:
        welcome = await client.welcome()
        assert kinds(welcome) == [
            "group-update",
            "full-text",
            "set-model-and-conf",
            "group-update",
            "control start-mic",
        ]
        assert welcome[0] == {"type": "group-update", "members": [], "is_owner": False}
        assert welcome[1]["text"] == "Connection established"
        assert welcome[2]["model_info"] is None, "without a rig: {} and an empty url break clients"
        await client.say("fetch-configs")
        configs = (await client.until("config-files"))["configs"]
        assert welcome[2]["conf_name"] in [config["name"] for config in configs]
        turn = await client.ask("hello")
        assert once(kinds(turn)) == TURN
        assert turn[1]["text"] == "Thinking..."
        first = turn[2]
        pcm, rate_hz = read_wav(base64.b64decode(first["audio"]))
        assert first["slice_length"] == 20
        assert len(first["volumes"]) == pytest.approx(len(pcm) / 2 / rate_hz / 0.02, abs=1)
        assert max(first["volumes"]) == 1.0
        assert min(first["volumes"]) >= 0.0
        assert first["display_text"]["name"] == welcome[2]["conf_name"]
        assert first["display_text"]["avatar"].endswith(".png")
        assert first["actions"] == {"expressions": ["joy"]}
        assert first["forwarded"] is False
        assert turn[-3] == {"type": "backend-synth-complete"}


# --- what an unmodified client needs ---


async def test_sentences_end_with_one_space_so_that_a_client_can_join_them(served: Served) -> None:
    async with vtuber(served) as client:
        assert shown(await client.ask("hello")) == PLAIN + " "


async def test_an_acknowledgement_of_before_the_last_sentence_counts_for_nothing(
    served: Served,
) -> None:
    async with vtuber(served) as client:
        client.acknowledges = False
        await client.say("text-input", text="hello")
        await client.until("audio")
        for _ in range(5):
            await client.say("frontend-playback-complete")
        await client.until("backend-synth-complete")
        assert not await client.nothing_more(), "the chain waits for this turn's own"
        await client.say("frontend-playback-complete")
        assert kinds(await client.turn()) == ["force-new-message", CHAIN_END]


async def test_a_second_acknowledgement_does_no_harm(served: Served) -> None:
    async with vtuber(served) as client:
        first = await client.ask("one")
        second = await client.ask("two")
        assert kinds(first) == kinds(second)
        assert not await client.nothing_more()


async def interrupt_in_the_middle(client: Vtuber, heard: str) -> list[Message]:
    """Type, wait until it speaks, then interrupt and type again, back to back, as the web client does."""
    client.acknowledges = False
    await client.say("text-input", text="tell me much")
    await client.until("backend-synth-complete")
    first = len(client.seen)
    await client.say("interrupt-signal", text=heard)
    await client.say("text-input", text="again")
    client.acknowledges = True
    await client.until("control", "conversation-chain-start")
    await client.until("control", "conversation-chain-end")
    return client.seen[first:]


async def test_after_an_interrupted_turn_the_first_sound_waits_for_the_client(
    served: Served,
) -> None:
    async with vtuber(served) as client:
        messages = await interrupt_in_the_middle(client, "Hi there,")
        assert once(kinds(messages)) == ["force-new-message", CHAIN_END, *TURN]
        place = len(client.seen) - len(messages)
        start = place + kinds(messages).index(CHAIN_START)
        sound = place + kinds(messages).index("audio")
        assert client.at_s[sound] - client.at_s[start] >= 0.29


async def test_an_ordinary_turn_does_not_wait(served: Served) -> None:
    async with vtuber(served) as client:
        await client.ask("warm")
        took_s = []
        for _ in range(3):  # a busy machine only ever adds
            turn = await client.ask("hello")
            place = len(client.seen) - len(turn)
            took_s.append(client.at_s[place + 2] - client.at_s[place])
        assert min(took_s) < 0.29, took_s


@pytest.mark.parametrize(
    ("heard", "remembered"),
    [
        ("Hi there, nice to meet you. Now", "Hi there, nice to meet you. Now"),
        ("Hithere,nicetomeetyou.Nowiam", "Hi there, nice to meet you. Now"),
        ("Hi there,   nice\nto", "Hi there, nice to"),
        ("", ""),
    ],
)
async def test_history_keeps_only_what_the_client_says_was_heard(
    served: Served, heard: str, remembered: str
) -> None:
    async with vtuber(served, uid=uuid4().hex) as client:
        await interrupt_in_the_middle(client, heard)
        await client.say("fetch-history-list")
        uid = (await client.until("history-list"))["histories"][0]["uid"]
        await client.say("fetch-and-set-history", history_uid=uid)
        said = (await client.until("history-data"))["messages"]
        assert [one["role"] for one in said] == (
            ["human", "ai", "human", "ai"] if remembered else ["human", "human", "ai"]
        )
        if remembered:
            assert said[1]["content"] == remembered
        assert said[-1]["content"] == PLAIN


async def test_a_client_cannot_put_words_into_her_mouth(served: Served) -> None:
    async with vtuber(served, uid=uuid4().hex) as client:
        await interrupt_in_the_middle(client, "I hate all of you.")
        await client.say("fetch-history-list")
        uid = (await client.until("history-list"))["histories"][0]["uid"]
        await client.say("fetch-and-set-history", history_uid=uid)
        said = (await client.until("history-data"))["messages"]
        assert PLAIN.startswith(said[1]["content"]) or said[1]["role"] == "human"
        assert all("hate" not in one["content"] for one in said)


async def test_an_interrupt_before_the_first_sentence_ends_the_chain(
    served: Served, llm: LlmServer
) -> None:
    llm.token_s = 0.5
    async with vtuber(served) as client:
        await client.say("text-input", text="hello")
        await client.until("full-text")
        await client.say("interrupt-signal", text="")
        assert kinds(await client.turn()) == ["force-new-message", CHAIN_END]
        llm.token_s = 0.0
        assert once(kinds(await client.ask("again"))) == TURN


async def test_an_interrupt_without_a_turn_is_no_error(served: Served) -> None:
    async with vtuber(served) as client:
        await client.say("interrupt-signal", text="Hi")
        assert not await client.nothing_more()


async def test_switching_the_configuration_touches_this_client_alone(served: Served) -> None:
    async with vtuber(served) as one, vtuber(served) as two:
        await one.ask("hello")
        await one.say("switch-config", file="rivet.yaml")
        assert (await one.next())["type"] == "set-model-and-conf"
        assert one.seen[-1]["conf_name"] == "Rivet"
        assert (await one.next())["message"] == "Switched to config: rivet.yaml"
        assert (await one.ask("who are you?"))[2]["display_text"]["name"] == "Rivet"
        assert (await two.ask("who are you?"))[2]["display_text"]["name"] == "Hoshi Kitsune"
    with served.client() as api:
        assert api.get("/api/conversations/stage").json()["character_id"] == "hoshi"


@pytest.mark.parametrize("file", ["../x.yaml", "nobody.yaml", "conf.txt", "rivet"])
async def test_a_refused_switch_brings_the_model_back(served: Served, file: str) -> None:
    async with vtuber(served) as client:
        await client.say("switch-config", file=file)
        assert await client.error()
        again = await client.next()
        assert (again["type"], again["conf_uid"]) == ("set-model-and-conf", "hoshi")


async def test_a_microphone_with_nothing_on_it_ends_the_thinking(served: Served) -> None:
    async with vtuber(served) as client:
        await client.say("mic-audio-end", images=[])
        assert kinds(await client.turn()) == ["error", CHAIN_END]
        await client.say("mic-audio-data", audio=[0.0] * 16_000)
        await client.say("mic-audio-end", images=[])
        turn = await client.turn()
        assert [kind for kind in kinds(turn) if kind != "full-text"] == [
            CHAIN_START,
            "error",
            CHAIN_END,
        ]
        assert once(kinds(await client.ask("hello"))) == TURN


async def test_histories_come_in_order_newest_first_and_never_empty(served: Served) -> None:
    async with vtuber(served, uid=uuid4().hex) as client:
        await client.say("create-new-history")
        older = (await client.next())["history_uid"]
        await client.ask("first")
        await client.say("create-new-history")
        newer = (await client.next())["history_uid"]
        await client.ask("second")
        # The opening requests of the web client, back to back.
        await client.say("fetch-history-list")
        await client.say("create-new-history")
        listed = (await client.next())["histories"]
        assert (await client.next())["type"] == "new-history-created"
        uids = [history["uid"] for history in listed]
        assert uids.index(newer) < uids.index(older)
        latest = listed[uids.index(newer)]
        assert set(latest) == {"uid", "latest_message", "timestamp"}
        assert set(latest["latest_message"]) == {"role", "timestamp", "content", "name", "avatar"}
        assert latest["latest_message"]["content"] == PLAIN
        moment = datetime.fromisoformat(latest["timestamp"])
        assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
        await client.say("fetch-and-set-history", history_uid=older)
        said = (await client.until("history-data"))["messages"]
        assert [(one["role"], one["content"]) for one in said] == [
            ("human", "first"),
            ("ai", PLAIN),
        ]


async def test_a_history_that_is_deleted_is_gone(served: Served) -> None:
    async with vtuber(served, uid=uuid4().hex) as client:
        await client.ask("to be forgotten")
        await client.say("fetch-history-list")
        uid = (await client.until("history-list"))["histories"][0]["uid"]
        await client.say("delete-history", history_uid=uid)
        assert await client.next() == {
            "type": "history-deleted",
            "success": True,
            "history_uid": uid,
        }
        await client.say("fetch-and-set-history", history_uid=uid)
        assert "no history" in await client.error()
        assert once(kinds(await client.ask("still there?"))) == TURN


async def test_the_marks_of_playing_sentences_are_in_the_turns_trace(served: Served) -> None:
    async with vtuber(served) as client:
        client.acknowledges = False
        await client.say("text-input", text="hello")
        first = await client.until("audio")
        await client.until("backend-synth-complete")
        await client.say("audio-play-start", display_text=first["display_text"], forwarded=True)
        await client.say("frontend-playback-complete")
        await client.until("control", "conversation-chain-end")
        with served.client() as api:
            spans = api.get("/api/turns").json()[0]["spans"]
        played = [span for span in spans if span["stage"] == "playback"]
        assert [span["name"] for span in played] == ["first_audio", "speaking"]
        assert played[0]["detail"] == "client-ws"


async def test_she_speaks_by_herself_when_asked_and_the_question_is_in_no_history(
    served: Served,
) -> None:
    async with vtuber(served, uid=uuid4().hex) as client:
        await client.say("ai-speak-signal", idle_time=12, images=[])
        turn = await client.turn()
        assert turn[0]["text"] == "AI wants to speak something..."
        assert once(kinds(turn[1:])) == TURN
        await client.say("fetch-history-list")
        uid = (await client.until("history-list"))["histories"][0]["uid"]
        await client.say("fetch-and-set-history", history_uid=uid)
        said = (await client.until("history-data"))["messages"]
        assert [one["role"] for one in said] == ["ai"]


async def test_expressions_follow_the_command_in_both_spellings(served: Served) -> None:
    async with vtuber(served) as client:
        await client.say("expression-command", expression_id="joy", duration=1000)
        found = await client.next()
        assert (found["expression_id"], found["result"]["status"]) == ("joy", "success")
        await client.say("expression-command", expressionId=1)
        assert (await client.next())["expression_id"] == 1
        await client.say("expression-command", expression_id="no such face")
        assert "no expression" in await client.error()
        await client.say("expression-command", expression_id="neutral")
        await client.until("expression-ack")


# --- the microphone ---


async def test_what_is_said_into_the_microphone_is_shown_and_answered(served: Served) -> None:
    async with vtuber(served) as client:
        await client.speak(0.5)
        await client.say("mic-audio-end", images=[])
        turn = await client.turn()
        assert once(kinds(turn)) == [*TURN[:2], "user-input-transcription", *TURN[2:]]
        assert turn[2]["text"] == "Hello there."


async def test_the_microphone_may_also_send_binary_frames(served: Served) -> None:
    async with vtuber(served) as client:
        hum = array("h", (round(9000 * math.sin(n / 5)) for n in range(1600))).tobytes()
        for _ in range(5):
            await client.socket.send(hum)
        await client.say("mic-audio-end")
        assert "user-input-transcription" in kinds(await client.turn())
        await client.socket.send(b"\x00\x20\x00")
        assert "PCM16" in await client.error()


async def test_sound_without_an_end_is_cut_where_the_speaker_falls_silent(served: Served) -> None:
    async with vtuber(served) as client:
        await client.say("raw-audio-data", audio=[0.0] * 8000)
        await client.speak(1.5, kind="raw-audio-data")
        for _ in range(6):
            await client.say("raw-audio-data", audio=[0.0] * 8000)
        turn = await client.turn()
        assert once(kinds(turn)) == [*TURN[:2], "user-input-transcription", *TURN[2:]]
        await client.say("mic-audio-end")  # what older clients send after it; it says nothing new
        assert not await client.nothing_more()


async def test_speaking_over_her_makes_the_client_fall_silent(served: Served) -> None:
    async with vtuber(served) as client:
        client.acknowledges = False
        await client.say("text-input", text="hello")
        await client.until("backend-synth-complete")
        first = len(client.seen)
        client.acknowledges = True
        await client.say("raw-audio-data", audio=[0.0] * 8000)
        await client.speak(1.5, kind="raw-audio-data")
        for _ in range(6):
            await client.say("raw-audio-data", audio=[0.0] * 8000)
        await client.until("control", "conversation-chain-start")
        await client.until("control", "conversation-chain-end")
        assert once(kinds(client.seen[first:])) == [
            "control interrupt",
            "force-new-message",
            CHAIN_END,
            *TURN[:2],
            "user-input-transcription",
            *TURN[2:],
        ]


async def test_utterances_that_come_in_a_row_are_all_read_and_every_turn_is_closed(
    served: Served,
) -> None:
    async with vtuber(served) as client:
        for _ in range(3):
            await client.say("mic-audio-data", audio=[0.0] * 16_000)
            await client.speak(0.5)
            await client.say("mic-audio-end")
        while kinds(client.seen).count("user-input-transcription") < 3:
            await client.next()
        turn = await client.turn()
        assert "audio" in kinds(turn), "the last one is answered; those before it were spoken over"
        found = kinds(client.seen)
        assert found.count(CHAIN_START) == found.count(CHAIN_END)


async def test_an_interrupt_while_speech_is_read_ends_the_thinking(tmp_path: Path) -> None:
    server = SpeechServer()
    server.how = "hang"
    with ServerThread(server):
        for served in serve(
            tmp_path,
            stt_chain=("openai_compatible",),
            stt_openai_url=f"{server.url}/v1",
            asr_vad="energy",
        ):
            async with vtuber(served) as client:
                await client.speak(0.6)
                await client.say("mic-audio-end")
                await client.until("full-text")
                await client.say("interrupt-signal", text="")
                assert kinds(await client.turn()) == [CHAIN_END]
                assert once(kinds(await client.ask("hello"))) == TURN


# --- the seven defects of the original ---


async def test_defect_1_each_client_has_a_memory_of_its_own(served: Served, llm: LlmServer) -> None:
    async with vtuber(served) as one, vtuber(served) as two:
        assert one.uid != two.uid
        await one.ask("my colour is ultramarine")
        await two.say("create-new-history")
        await two.ask("what is my colour?")
        assert "ultramarine" not in llm.requests[-1].body.decode()
        await one.ask("and mine?")
        assert "ultramarine" in llm.requests[-1].body.decode(), "the second tab wiped nothing"


async def test_defect_2_a_turn_ends_and_is_stored_without_an_acknowledgement(
    served: Served, llm: LlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.api.client_ws import turns

    monkeypatch.setattr(turns, "ACKNOWLEDGE_S", 0.2)
    llm.reply = "Yes."
    async with vtuber(served, uid=uuid4().hex) as client:
        client.acknowledges = False
        turn = await client.ask("hello")
        assert once(kinds(turn)) == TURN
        await client.say("fetch-history-list")
        listed = (await client.until("history-list"))["histories"]
        assert listed[0]["latest_message"]["content"] == "Yes."


async def test_defect_3_an_error_in_the_middle_is_neither_spoken_nor_shown(
    tmp_path: Path, llm: LlmServer
) -> None:
    llm.fault = "cut"
    for served in serve(tmp_path, **asks(llm)):
        async with vtuber(served) as client:
            await client.say("text-input", text="hello")
            assert await client.error() == "The character could not answer; Luma's window says why."
            if kinds(client.seen)[-1] != CHAIN_END:
                await client.turn()
    # What was said before the line was cut stays.
    assert PLAIN.startswith(shown(client.seen).strip())
    found = kinds(client.seen)
    assert found.count(CHAIN_START) == found.count(CHAIN_END) == 1
    everything = json.dumps(client.seen)
    assert llm.canary not in everything
    assert "127.0.0.1" not in everything


@pytest.mark.parametrize("fault", ["500", "401", "html"])
async def test_defect_3_where_the_provider_refuses_another_mind_answers(
    tmp_path: Path, llm: LlmServer, fault: str
) -> None:
    llm.fault = fault
    for served in serve(tmp_path, **asks(llm)):
        async with vtuber(served) as client:
            turn = await client.ask("hello")
    assert once(kinds(turn)) == TURN
    assert llm.canary not in json.dumps(client.seen)


async def test_defect_4_quick_inputs_are_answered_one_after_the_other_and_each_turn_is_closed(
    served: Served,
) -> None:
    async with vtuber(served) as client:
        for n in range(12):
            await client.say("text-input", text=f"number {n}")
        for _ in range(12):
            assert once(kinds(await client.turn())) == TURN


async def test_more_inputs_than_may_wait_are_refused_and_what_began_is_closed(
    served: Served,
) -> None:
    async with vtuber(served) as client:
        for n in range(60):
            await client.say("text-input", text=f"number {n}")
        await client.say("heartbeat")
        seen: list[str] = []
        while sum(kind in (CHAIN_END, "error") for kind in seen) < 60:
            seen = kinds([*client.seen, await client.next()][5:])
        starts, ends = seen.count(CHAIN_START), seen.count(CHAIN_END)
        assert starts == ends
        assert starts >= 33
        chains = [kind for kind in seen if kind in (CHAIN_START, CHAIN_END)]
        assert chains == [CHAIN_START, CHAIN_END] * starts


async def test_defect_5_tags_are_neither_in_subtitles_nor_in_the_history(
    served: Served, llm: LlmServer
) -> None:
    async with vtuber(served, uid=uuid4().hex) as client:
        turn = await client.ask("hello")
        assert "[" not in shown(turn)
        await client.ask("and?")
        assert "Hi there" in llm.requests[-1].body.decode()
        await client.say("fetch-history-list")
        await client.until("history-list")
        assert "[joy]" not in json.dumps(client.seen)
        assert "[sadness]" not in json.dumps(client.seen)


async def test_defect_6_the_first_turn_is_as_fast_as_the_later_ones(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    more_s = []
    while len(more_s) < 3 and min(more_s, default=1.0) >= 0.25:  # a busy machine only ever adds
        for served in serve(tmp_path_factory.mktemp("fresh")):
            async with vtuber(served) as client:
                took_s = []
                for n in range(6):
                    turn = await client.ask(f"hello number {n}")
                    place = len(client.seen) - len(turn)
                    took_s.append(client.at_s[place + 2] - client.at_s[place])
            more_s.append(took_s[0] - statistics.median(took_s[1:]))
    # The original's first turn always takes 0.5 s more.
    assert min(more_s) < 0.25, more_s


async def test_defect_7_what_is_sent_to_the_model_does_not_grow_with_the_history(
    served: Served, llm: LlmServer
) -> None:
    llm.reply = "A reply of some length, so that the history fills up after a while, as it does."
    async with vtuber(served) as client:
        sizes = []
        for n in range(40):
            await client.ask(f"message {n} " + "with many words " * 8)
            sizes.append(len(llm.requests[-1].body))
        assert max(sizes[20:]) <= max(sizes[:20]) * 1.1


# --- clients do each other no harm ---


async def test_a_client_that_does_not_read_is_dropped_and_nobody_waits_for_it(
    served: Served, llm: LlmServer
) -> None:
    llm.reply = " ".join(
        f"Sentence number {n} of a very long story about the sea." for n in range(60)
    )
    async with vtuber(served) as quick, vtuber(served, max_queue=1) as stuck:
        for n in range(20):
            await stuck.say("text-input", text=f"number {n}")
        llm.reply = REPLY
        for _ in range(5):
            assert once(kinds(await quick.ask("hello"))) == TURN


async def test_a_client_that_leaves_in_the_middle_stops_its_turn_and_leaves_nothing_empty(
    served: Served, llm: LlmServer
) -> None:
    chat = served.app.state.backend.chat
    with served.client() as api:
        before = len(api.get("/api/conversations").json())
        async with vtuber(served) as client:
            await client.say("create-new-history")
            await client.until("new-history-created")
            await client.say("create-new-history")
            await client.until("new-history-created")
        await settled(lambda: len(api.get("/api/conversations").json()) == before)
        async with vtuber(served, uid="leaver") as client:
            client.acknowledges = False
            await client.say("text-input", text="hello")
            await client.until("backend-synth-complete")
            own = next(
                c for c in api.get("/api/conversations").json() if c["client_uid"] == "leaver"
            )
            assert chat.is_busy(own["id"])
        await settled(lambda: not chat.is_busy(own["id"]))
        assert api.get("/api/turns").json()[0]["outcome"] == "interrupted"


async def settled(is_so: Any) -> None:
    for _ in range(200):
        if is_so():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it never was so")


async def test_a_client_with_a_name_finds_its_conversation_again_also_over_rest(
    served: Served,
) -> None:
    async with vtuber(served, uid="unity-1") as client:
        assert client.uid == "unity-1"
        await client.ask("remember me")
    with served.client() as api:
        over_rest = api.post(
            "/api/chat", json={"message": "it is me"}, headers={"X-Client-UID": "unity-1"}
        ).json()
    async with vtuber(served, uid="unity-1") as client:
        assert not await client.nothing_more(), "what was said over REST is not played here"
        await client.say("fetch-history-list")
        listed = (await client.until("history-list"))["histories"]
        assert [history["uid"] for history in listed] == [over_rest["conversation_id"]]
        await client.say("fetch-and-set-history", history_uid=listed[0]["uid"])
        said = (await client.until("history-data"))["messages"]
        assert [one["content"] for one in said if one["role"] == "human"] == [
            "remember me",
            "it is me",
        ]


async def test_who_connects_again_takes_the_place_of_the_dead_connection(served: Served) -> None:
    async with vtuber(served, uid="twice") as first:
        await first.ask("hello")
        async with vtuber(served, uid="twice") as second:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await first.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4009
            assert once(kinds(await second.ask("hello again"))) == TURN


async def test_a_history_that_is_talked_in_is_nobody_elses(served: Served) -> None:
    async with vtuber(served) as one, vtuber(served) as two:
        await one.say("create-new-history")
        uid = (await one.until("new-history-created"))["history_uid"]
        await one.ask("mine")
        await two.say("fetch-and-set-history", history_uid=uid)
        assert "Another client" in await two.error()
        await two.say("delete-history", history_uid=uid)
        assert (await two.until("history-deleted"))["success"] is False


async def test_the_stage_is_no_history_of_a_client(served: Served) -> None:
    async with vtuber(served) as client:
        await client.say("fetch-and-set-history", history_uid="stage")
        assert "no history" in await client.error()
        await client.say("delete-history", history_uid="stage")
        assert (await client.next())["success"] is False


# --- groups ---


async def test_a_group_sees_what_the_others_hear_and_ends_with_its_owner(served: Served) -> None:
    async with vtuber(served) as owner, vtuber(served) as guest:
        await owner.say("add-client-to-group", invitee_uid=guest.uid)
        assert (await owner.until("group-operation-result"))["success"] is True
        update = await owner.next()
        assert update == {
            "type": "group-update",
            "members": [owner.uid, guest.uid],
            "is_owner": True,
        }
        assert (await guest.until("group-update"))["is_owner"] is False

        await owner.say("text-input", text="hello")
        first = await owner.until("audio")
        await owner.say("audio-play-start", display_text=first["display_text"], forwarded=True)
        relayed = await guest.until("audio")
        assert relayed["audio"] is None
        assert relayed["forwarded"] is True
        assert relayed["display_text"] == first["display_text"]
        await owner.say("audio-play-start", display_text={"text": "<b>made up</b>"})
        await owner.turn()
        assert not await guest.nothing_more()

        owner.acknowledges = False
        await owner.say("text-input", text="hello")
        await owner.until("backend-synth-complete")
        await owner.say("interrupt-signal", text="Hi there,")
        assert (await guest.until("interrupt-signal"))["text"] == "Hi there,"

        await guest.say("remove-client-from-group", target_uid=owner.uid)
        assert (await guest.until("group-operation-result"))["success"] is False
        await owner.say("remove-client-from-group", target_uid=guest.uid)
        assert (await guest.until("group-update"))["members"] == []
        await guest.say("request-group-info")
        assert (await guest.next())["members"] == []


async def test_only_who_is_there_can_be_invited(served: Served) -> None:
    async with vtuber(served) as client:
        for uid in ("nobody", client.uid):
            await client.say("add-client-to-group", invitee_uid=uid)
            assert (await client.until("group-operation-result"))["success"] is False


# --- hostile frames ---

HOSTILE = [
    "",
    "no json",
    "[]",
    "5",
    "{}",
    '{"type": 5}',
    '{"type": null}',
    '{"type": "no-such-thing"}',
    '{"type": "text-input"}',
    '{"type": "text-input", "text": 5}',
    '{"type": "text-input", "text": ""}',
    '{"type": "text-input", "text": "' + "x" * 9000 + '"}',
    '{"type": "text-input", "text": "hi", "images": "x"}',
    '{"type": "mic-audio-data"}',
    '{"type": "mic-audio-data", "audio": "x"}',
    '{"type": "mic-audio-data", "audio": [NaN]}',
    '{"type": "mic-audio-data", "audio": [Infinity]}',
    '{"type": "mic-audio-data", "audio": [1e999]}',
    '{"type": "mic-audio-data", "audio": ["0.5"]}',
    '{"type": "mic-audio-data", "audio": [null]}',
    '{"type": "mic-audio-data", "audio": {"0": 0.5}}',
    '{"type": "mic-audio-data", "audio": [' + "0," * 70_000 + "0]}",
    '{"type": "switch-config", "file": 5}',
    '{"type": "delete-history"}',
    '{"type": "fetch-and-set-history", "history_uid": ["x"]}',
    '{"type": "expression-command"}',
    '{"type": "expression-command", "expression_id": -1}',
    '{"type": "expression-command", "expression_id": "joy", "duration": -5}',
    '{"type": "add-client-to-group", "invitee_uid": ""}',
    '{"type": "motion-command", "motion_group": "Idle", "motion_index": 0}',
    '{"type": "text-generation-request"}',
    '{"type": "text-generation-request", "prompt": 5}',
    '{"type": "text-generation-request", "prompt": "x", "kind": "sing"}',
    '{"type": "text-generation-request", "prompt": "x", "context": 5}',
    '{"type": "text-generation-request", "prompt": "x", "context": {"history": "x"}}',
    '{"type": "text-generation-request", "prompt": "x", "options": {"max_length": 0}}',
    '{"type": "text-generation-request", "prompt": "x", "options": {"temperature": NaN}}',
    '{"type": "set-backend-mode", "mode": "nobody"}',
    '{"type": "twitch-connect", "channel": 5}',
    '{"type": "twitch-connect", "channel": "a b"}',
    '{"type": "twitch-connect", "token": []}',
    "[" * 5000 + "]" * 5000,
    '{"type": "\\ud800"}',
]


@pytest.mark.parametrize("frame", HOSTILE, ids=lambda frame: frame[:40])
async def test_a_hostile_frame_is_answered_with_an_error_and_the_client_goes_on(
    served: Served, frame: str
) -> None:
    async with vtuber(served) as client:
        await client.socket.send(frame)
        found = await client.next()
        assert found["type"] == "error"
        assert 5 < len(found["message"]) < 600
        assert not await client.nothing_more()


async def test_a_frame_of_a_million_floats_ends_the_socket_and_harms_nobody(
    served: Served,
) -> None:
    async with vtuber(served) as other, vtuber(served) as client:
        frame = '{"type": "mic-audio-data", "audio": [' + "0," * 999_999 + "0]}"
        await client.socket.send(frame)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert once(kinds(await other.ask("hello"))) == TURN


async def test_more_sound_than_anybody_speaks_is_refused(served: Served) -> None:
    async with vtuber(served) as client:
        piece = b"\x00" * (2 * 16_000 * 15)  # 15 s in one frame
        for _ in range(9):
            await client.socket.send(piece)
        assert "Too much sound" in await client.error()


async def test_pictures_are_said_not_to_be_looked_at_once(served: Served) -> None:
    async with vtuber(served) as client:
        picture = {"source": "camera", "data": "data:image/png;base64,AA==", "mime_type": "x"}
        await client.say("text-input", text="look", images=[picture])
        assert "Pictures" in await client.error()
        assert once(kinds(await client.turn())) == TURN
        await client.say("text-input", text="look", images=[picture])
        assert once(kinds(await client.turn())) == TURN
