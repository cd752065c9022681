"""Autonomy as a whole: a real chat with a manual sink, a clock and dice that are moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.autonomy.actions import SETTLE_S, Floor
from backend.autonomy.content import Around
from backend.autonomy.scheduler import Moment
from backend.autonomy.service import Autonomy, Options
from backend.autonomy.triggers import SHIPPED, checked, is_set_off, reached, when_in_words
from backend.avatar.cues import Cues
from backend.avatar.rigs import Rigs
from backend.avatar.state import AvatarState
from backend.chat.characters import Characters
from backend.chat.conversations import VIEWERS, Chat
from backend.chat.on_demand import OnDemand
from backend.chat.turn import TurnRunner
from backend.contracts.audience import AudienceMessage, StreamState, Viewer, ViewerEvent
from backend.contracts.autonomy import Milestone, TriggerRules
from backend.contracts.entities import STAGE, Character
from backend.contracts.errors import ConflictError, InvalidInputError, NotFoundError
from backend.contracts.events import (
    AudienceDid,
    AudienceWrote,
    AutonomyActed,
    AutonomyChanged,
    ChatDisposition,
    QueueChanged,
    StreamChanged,
    UtteranceDropped,
    UtteranceStarted,
)
from backend.core.bus import EventBus
from backend.engines.llm import LLMS
from backend.engines.llm.base import LLM
from backend.engines.llm.options import EchoOptions
from backend.modes.mind import alone
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from backend.storage.database import Database
from tests.fakes import Beeps, ManualSink, Watch, WritesText

WALL = datetime(2026, 5, 1, 18, 0, tzinfo=UTC)


class Kept:
    """Facts in memory."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def get(self, name: str) -> str | None:
        return self.values.get(name)

    async def put(self, name: str, value: str) -> None:
        self.values[name] = value


@dataclass
class World:
    """Everything around autonomy."""

    bus: EventBus
    chat: Chat
    sink: ManualSink
    avatar: AvatarState
    characters: Characters
    rigs: Rigs
    player: Player
    watch: Watch
    store: Kept = field(default_factory=Kept)
    mono_s: float = 1000.0
    wall: datetime = WALL
    is_held: bool = False
    groups: frozenset[str] = frozenset({"idle", "time", "viewers", "chat"})
    hears: bool = False
    model: LLM = field(default_factory=lambda: LLMS.create("echo", EchoOptions()))

    def moment(self) -> Moment:
        return Moment(self.mono_s, self.wall)

    def go(self, seconds: float) -> None:
        self.mono_s += seconds
        self.wall += timedelta(seconds=seconds)

    async def character(self) -> Character:
        return await self.characters.get((await self.chat.conversation(STAGE)).character_id)

    def autonomy(self, dice: Callable[[], float] = lambda: 0.0) -> Autonomy:
        async def waited(seconds: float) -> None:
            self.go(seconds)
            await asyncio.sleep(0)

        return Autonomy(
            bus=self.bus,
            stage=self.chat,
            cues=Cues(self.avatar, self.rigs, self.characters.known),
            writer=OnDemand(lambda _: self.model, self.chat, self.characters.get),
            store=self.store,
            character=self.character,
            speaks_unasked=lambda group: group in self.groups,
            floor=Floor(
                self.chat,
                is_held=lambda: self.is_held,
                is_playing=lambda: self.player.is_playing,
                hears=lambda: self.hears,
            ),
            is_sounding=self.player.is_speaking,
            options=Options(gap_s=0),
            dice=dice,
            moment=self.moment,
            sleep=waited,
        )

    async def said(self) -> Sequence[tuple[str, str, str]]:
        """What was said on stage, oldest first: by what, to what, and what."""
        return [(turn.source, turn.outcome, turn.reply) for turn in await self.chat.turns(STAGE)][
            ::-1
        ]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    bus = EventBus()
    database = Database("", tmp_path)
    await database.open()
    bus.bind(asyncio.get_running_loop())
    characters = Characters(database, bus, tmp_path / "avatars")
    await characters.open()
    sink = ManualSink()
    player = Player(bus, sink, lambda cue, turn_id, conversation_id: None)
    beeps = Beeps()
    runner = TurnRunner(
        bus=bus,
        mind=alone(lambda: WritesText(["Well, hello."])),
        speech=lambda: beeps,
        sounds=SoundStore(tmp_path / "sounds", max_bytes=1 << 20, max_age_days=1),
        player=player,
    )
    chat = Chat(bus=bus, database=database, characters=characters, runner=runner)
    await chat.start()
    rigs = Rigs(tmp_path / "rigs")
    await rigs.refresh(now=True)
    avatar = AvatarState(bus)
    try:
        async with Watch(bus) as watch:
            yield World(bus, chat, sink, avatar, characters, rigs, player, watch)
    finally:
        await chat.stop()
        avatar.close()
        await database.close()


def trigger(name: str, when: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "when": when,
        "cooldown_s": 0,
        "do": {"texts": ["Hello {viewer}!"]},
        **fields,
    }


RAID = trigger("raid", {"kind": "viewer", "does": "raid"})


@asynccontextmanager
async def running(
    world: World, *triggers: dict[str, Any], **options: Any
) -> AsyncIterator[Autonomy]:
    """Autonomy that hears everything, and is stepped by hand."""
    autonomy = world.autonomy(**options)
    await autonomy.open()
    if triggers:
        await autonomy.set_rules(checked({"triggers": list(triggers)}))
    autonomy.is_on = True
    with world.bus.subscribe() as heard:

        async def follow() -> None:
            async for event in heard:
                autonomy.hear(event)

        task = asyncio.create_task(follow())
        try:
            yield autonomy
        finally:
            await autonomy.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def viewer(name: str) -> Viewer:
    return Viewer(platform="twitch", id=name, name=name)


def raid(world: World, name: str = "Ann", amount: int = 5) -> None:
    what = ViewerEvent(
        id=name, platform="twitch", kind="raid", viewer=viewer(name), amount=amount, at=world.wall
    )
    world.bus.publish(AudienceDid(what=what))


def wrote(world: World, n: int, text: str, **fields: Any) -> None:
    said = AudienceMessage(
        id=f"m{n}", platform="twitch", viewer=viewer(f"v{n}"), text=text, at=world.wall, **fields
    )
    world.bus.publish(AudienceWrote(said=said))
    world.bus.publish(ChatDisposition(message_id=f"m{n}", disposition="queued"))


async def begun(world: World, autonomy: Autonomy) -> None:
    """A step, and what it begins goes as far as it can by itself."""
    await world.watch.settle()
    await autonomy.step()
    await world.watch.settle()


async def heard(world: World, autonomy: Autonomy) -> None:
    """What she says is heard to its end."""
    await world.sink.advance(60)
    await autonomy.acted()
    await world.watch.settle()


async def spoken_over(world: World, autonomy: Autonomy) -> None:
    """She begins, and somebody speaks before she sounds."""
    await world.watch.settle()
    await autonomy.step()
    world.bus.publish(UtteranceStarted(utterance_id="u", conversation_id=STAGE))
    await world.watch.until("turn.finished")
    await autonomy.acted()


def nothing_was_said(world: World) -> None:
    """It was a cough."""
    world.bus.publish(UtteranceDropped(utterance_id="u", reason="no_words", conversation_id=STAGE))


def acts(world: World) -> list[tuple[str, str, str]]:
    return [
        (event.trigger, event.action, event.detail)
        for event in world.watch.of("autonomy.acted")
        if isinstance(event, AutonomyActed)
    ]


async def test_what_she_says_unasked_is_a_turn_of_her_own(world: World) -> None:
    async with running(
        world, {**RAID, "do": {"texts": ["Hello {viewer}!"], "scene": "party"}}
    ) as autonomy:
        raid(world)
        await begun(world, autonomy)
        await heard(world, autonomy)
        assert acts(world) == [("raid", "says+scene", "Hello Ann!; scene party")]
        assert await world.said() == [("autonomy", "done", "Hello Ann!")]
        assert world.watch.of("scene.called")


async def test_she_waits_while_somebody_speaks_and_a_little_longer(world: World) -> None:
    async with running(world, RAID) as autonomy:
        world.bus.publish(UtteranceStarted(utterance_id="u", conversation_id=STAGE))
        raid(world)
        await begun(world, autonomy)
        assert autonomy.state().reasons == ("somebody speaks",)
        nothing_was_said(world)
        await begun(world, autonomy)
        assert autonomy.state().reasons == ("somebody has just spoken",)
        world.go(SETTLE_S)
        await begun(world, autonomy)
        await heard(world, autonomy)
        assert [one[2] for one in acts(world)] == ["Hello Ann!"]


async def test_a_persons_turn_goes_first_and_hers_comes_when_the_stage_is_free(
    world: World,
) -> None:
    async with running(world, RAID) as autonomy:
        handle = await world.chat.send("Hi there", conversation_id=STAGE)
        await world.watch.until("playback.started")
        raid(world)
        await begun(world, autonomy)
        assert autonomy.state().reasons == ("a message is being answered",)
        await world.sink.advance(60)
        await handle.result()
        await begun(world, autonomy)
        world.go(SETTLE_S)
        await begun(world, autonomy)
        await heard(world, autonomy)
        assert [one[0] for one in await world.said()] == ["api", "autonomy"]


async def test_somebody_who_begins_to_speak_before_she_sounds_has_the_word(world: World) -> None:
    async with running(world, RAID) as autonomy:
        raid(world)
        await spoken_over(world, autonomy)
        assert [(one[1], one[2]) for one in await world.said()] == [("interrupted", "")]
        assert acts(world) == []
        nothing_was_said(world)
        await world.watch.settle()
        world.go(10)  # the raid is not out of place yet: she welcomes it now
        await begun(world, autonomy)
        await heard(world, autonomy)
        assert [one[2] for one in acts(world)] == ["Hello Ann!"]


async def test_a_scene_is_called_once_though_somebody_comes_before_her_words(world: World) -> None:
    rule = {**RAID, "do": {"texts": ["Hello {viewer}!"], "scene": "party"}}
    async with running(world, rule) as autonomy:
        raid(world)
        await spoken_over(world, autonomy)
        nothing_was_said(world)
        for _ in range(20):
            world.go(5)
            await begun(world, autonomy)
            await heard(world, autonomy)
        assert len(world.watch.of("scene.called")) == 1
        assert [act[1] for act in acts(world)] == ["scene"]
        assert "not said: somebody came first" in acts(world)[0][2]


async def test_she_can_be_interrupted_and_it_counts_as_said(world: World) -> None:
    long = " ".join(["Something long to say."] * 5)
    async with running(world, {**RAID, "do": {"texts": [long]}}) as autonomy:
        raid(world)
        await begun(world, autonomy)
        await world.watch.until("playback.started")
        await world.sink.advance(0.3)
        await world.chat.interrupt(STAGE)
        await autonomy.acted()
        await world.watch.settle()
        ((_, action, detail),) = acts(world)
        assert action == "says"
        assert detail.endswith("(interrupted)")


async def test_a_panic_holds_everything_she_would_do(world: World) -> None:
    async with running(world, RAID) as autonomy:
        world.is_held = True
        raid(world)
        await begun(world, autonomy)
        assert acts(world) == []
        with pytest.raises(ConflictError, match="panic"):
            autonomy.act("raid")
        world.is_held = False
        await begun(world, autonomy)
        await heard(world, autonomy)
        assert len(acts(world)) == 1


async def test_a_line_that_was_written_is_dropped_when_its_moment_goes_by(world: World) -> None:
    async with running(world, {**RAID, "stale_s": 30}) as autonomy:
        raid(world)
        await world.watch.settle()
        await autonomy.step()
        world.hears = True  # while it is being written
        await autonomy.acted()
        await world.watch.settle()
        ((_, action, detail),) = acts(world)
        assert (action, detail) == ("nothing", "its moment went by: somebody speaks")
        assert await world.said() == []


async def test_viewers_have_their_share_of_the_stage_and_she_hers(world: World) -> None:
    async with running(world, RAID) as autonomy:
        autonomy.use(Options(gap_s=0, share=0.5))
        order: list[str] = []
        for n in range(6):
            world.bus.publish(QueueChanged(total=3))
            handle = await world.chat.send(
                f"question {n}", origin=VIEWERS + "twitch", conversation_id=STAGE
            )
            await world.watch.until("turn.started", len(order) + 1)
            raid(world, f"R{n}")
            await begun(world, autonomy)
            await world.sink.advance(60)
            await handle.result()
            await autonomy.acted()
            await world.watch.settle()
            order = [one[0] for one in await world.said()]
        assert order.count(VIEWERS + "twitch") == 6
        assert order.count("autonomy") == 3  # one to begin with, then one for every two answers
        world.bus.publish(QueueChanged(total=3))
        await world.watch.settle()
        autonomy.floor.took()
        assert autonomy.state().reasons == ("3 viewers wait for answers (AUTONOMY_SHARE=0.5)",)


async def test_the_mode_may_forbid_a_group(world: World) -> None:
    world.groups = frozenset({"idle"})
    async with running(world, RAID) as autonomy:
        raid(world)
        await begun(world, autonomy)
        (row,) = autonomy.state().triggers
        assert row.readiness == "due"
        assert "AUTONOMOUS_TRIGGERS does not name viewers" in row.reasons
        assert acts(world) == []


async def test_chat_sets_off_keywords_milestones_topics_and_moods(world: World) -> None:
    say = {"texts": ["{word}|{count}|{mood}"]}
    async with running(
        world,
        trigger("word", {"kind": "keyword", "words": ["dragon"]}, do=say, priority=9),
        trigger("tenth", {"kind": "milestone", "of": "messages", "every": 10}, do=say, priority=8),
        trigger("about", {"kind": "topic", "words": ["dragons", "dragon"], "mentions": 3}, do=say),
        trigger("angry", {"kind": "mood", "mood": "angry"}, do=say, priority=7),
    ) as autonomy:
        for n in range(10):
            wrote(world, n, "a DRAGON!" if n < 3 else "you are stupid")
        for _ in range(4):
            await begun(world, autonomy)
            await heard(world, autonomy)
            world.go(10)
        found = {one[0]: one[2] for one in acts(world)}
        assert set(found) == {"word", "tenth", "about", "angry"}
        assert found["word"].startswith("dragon|")
        assert "|10|" in found["tenth"]


LURK = trigger(
    "lurk",
    {"kind": "keyword", "words": ["lurk"]},
    do={"texts": ["{viewer} says: {text}"]},
)


async def test_a_keyword_counts_once_moderation_has_let_its_message_through(world: World) -> None:
    async with running(world, LURK) as autonomy:
        for n, becomes in ((1, "filtered"), (2, "queued")):
            said = AudienceMessage(
                id=f"m{n}", platform="twitch", viewer=viewer(f"v{n}"), text="I lurk", at=world.wall
            )
            world.bus.publish(AudienceWrote(said=said))
            await begun(world, autonomy)
            assert autonomy.state().acting == ""
            world.bus.publish(ChatDisposition(message_id=f"m{n}", disposition=becomes))
            await begun(world, autonomy)
            await heard(world, autonomy)
        assert [act[2] for act in acts(world)] == ["v2 says: I lurk"]


@pytest.mark.parametrize("when", ["waiting", "speaking"])
async def test_what_a_deleted_message_set_off_is_not_said(world: World, when: str) -> None:
    async with running(world, LURK) as autonomy:
        wrote(world, 1, "I lurk")
        if when == "waiting":
            world.hears = True
        await begun(world, autonomy)
        if when == "speaking":
            await world.watch.until("playback.started")
        world.bus.publish(ChatDisposition(message_id="m1", disposition="deleted"))
        await world.watch.settle()
        world.hears = False
        await autonomy.acted()
        for _ in range(4):
            world.go(20)
            await begun(world, autonomy)
            await heard(world, autonomy)
        assert [act[1] for act in acts(world)] == (["nothing"] if when == "speaking" else [])
        assert all("lurk" not in reply for _, _, reply in await world.said())


async def test_insults_and_praise_meant_for_her_change_her_mood(world: World) -> None:
    async with running(world, RAID) as autonomy:
        at_rest = autonomy.state().mood.valence
        wrote(world, 1, "this game is stupid")
        await world.watch.settle()
        assert autonomy.state().mood.valence == at_rest
        wrote(world, 2, "you are stupid", mentions_us=True)
        await world.watch.settle()
        hurt = autonomy.state().mood.valence
        assert hurt < at_rest
        wrote(world, 3, "I love you", replies_to_us=True)
        await world.watch.settle()
        assert autonomy.state().mood.valence > hurt


async def test_a_model_is_told_the_chat_and_her_mood(world: World) -> None:
    world.model = model = WritesText(["What a question."])
    ask = trigger("ask", {"kind": "keyword", "words": ["why"]}, do={"prompt": "React to the chat."})
    async with running(world, ask) as autonomy:
        autonomy.stream = {"game": "Hades"}
        wrote(world, 1, "why is the sky blue")
        await begun(world, autonomy)
        await heard(world, autonomy)
        assert [one[2] for one in acts(world)] == ["What a question."]
        (prompt,) = model.prompts
        assert "v1: why is the sky blue" in prompt.messages[-1].text
        assert "Right now you feel" in prompt.messages[0].text
        assert "Hades" in prompt.messages[0].text


async def test_her_face_moves_below_everybody_elses_wishes_and_what_it_lacks_is_said(
    world: World,
) -> None:
    face = trigger(
        "face", {"kind": "viewer", "does": "raid"}, do={"expression": "joy", "motion": "backflip"}
    )
    async with running(world, face) as autonomy:
        character = await world.character()
        world.avatar.show(character.id, "sad", owner="api", priority=0)
        raid(world)
        await begun(world, autonomy)
        await autonomy.acted()
        await world.watch.settle()
        assert world.avatar.shown(character.id).expression == "sad"
        ((_, action, detail),) = acts(world)
        assert action == "shows"
        assert "has no motion 'backflip'" in detail


async def test_a_dry_run_and_an_unknown_trigger(world: World) -> None:
    async with running(world, RAID) as autonomy:
        nothing = await autonomy.dry_run()
        assert (nothing.would, nothing.why) == ("nothing", "raid: comes on a raid")
        raid(world)
        await world.watch.settle()
        found = await autonomy.dry_run()
        assert (found.trigger, found.would) == ("raid", "says: Hello Ann!")
        assert found.triggers[0].readiness == "ready"
        with pytest.raises(NotFoundError, match=r"'nix'; there are raid"):
            await autonomy.dry_run("nix")
        assert acts(world) == []


async def test_after_a_crash_in_the_middle_she_does_not_say_it_again(world: World) -> None:
    rules = {**RAID, "cooldown_s": 600}
    async with running(world, rules) as autonomy:
        raid(world)
        await begun(world, autonomy)
        await world.watch.until("playback.started")
        kept = dict(world.store.values)  # as a power cut in her first word leaves it
        await heard(world, autonomy)
    world.store.values = kept
    world.go(60)
    async with running(world) as again:
        (row,) = again.state().triggers
        assert (row.id, row.readiness) == ("raid", "resting")
        assert row.in_s == pytest.approx(540, abs=2)
        assert again.rules == checked({"triggers": [rules]})


async def test_a_line_that_a_crash_cut_is_not_said_again_by_another_trigger(world: World) -> None:
    also = {**RAID, "id": "also", "when": {"kind": "viewer", "does": "follow"}}
    also["do"] = {"texts": ["Hello Ann!", "Nice to see you, {viewer}."]}
    async with running(world, RAID, also) as autonomy:
        raid(world)
        await begun(world, autonomy)
        await world.watch.until("playback.started")
        kept = dict(world.store.values)
        await heard(world, autonomy)
    world.store.values = kept
    world.go(60)
    async with running(world, RAID, also) as again:
        what = ViewerEvent(
            id="f", platform="twitch", kind="follow", viewer=viewer("Ann"), at=world.wall
        )
        world.bus.publish(AudienceDid(what=what))
        await begun(world, again)
        await heard(world, again)
    assert acts(world)[-1][2] == "Nice to see you, Ann."


async def test_counters_go_on_after_a_crash_and_no_number_is_reached_twice(world: World) -> None:
    rule = trigger("three", {"kind": "milestone", "of": "chatters", "at": [3]})
    async with running(world, rule) as autonomy:
        for n in (1, 2):
            wrote(world, n, "hi")
        await begun(world, autonomy)
        world.go(10)
        await autonomy.step()
        kept = dict(world.store.values)
    world.store.values = kept
    world.go(60)
    async with running(world, rule) as again:
        wrote(world, 2, "me again")
        await begun(world, again)
        assert (again.state().chat.chatters, again.state().chat.messages) == (2, 3)
        wrote(world, 3, "hi")
        await begun(world, again)
        await heard(world, again)
        assert len(acts(world)) == 1
        kept = dict(world.store.values)
    world.store.values = kept
    world.go(3600)
    async with running(world, rule) as tomorrow:
        assert tomorrow.state().chat.messages == 0


def streams(world: World, **fields: Any) -> None:
    stream = StreamState(platform="twitch", channel="kira", **fields)
    world.bus.publish(StreamChanged(stream=stream))


async def test_title_and_game_reach_her_lines_and_prompts(world: World) -> None:
    rule = trigger("plays", {"kind": "viewer", "does": "raid"})
    rule["do"] = {"texts": ["We play {game}: {title}!"]}
    async with running(world, rule) as autonomy:
        streams(world, title="[joy] Cozy <b>", game="Tetris", is_live=True, started_at=world.wall)
        raid(world)
        await begun(world, autonomy)
        await heard(world, autonomy)
        assert acts(world)[-1][2] == "We play Tetris: joy Cozy b!"
        assert autonomy.stream["live"] == "yes"
        world.bus.publish(StreamChanged(stream=StreamState(platform="twitch")))
        await world.watch.settle()
        assert autonomy.stream == {}


async def test_another_stream_counts_anew_and_the_same_one_goes_on(world: World) -> None:
    async with running(world, RAID) as autonomy:
        wrote(world, 1, "before it began")
        await world.watch.settle()
        world.go(60)
        # The platform's clock is ahead of ours.
        began = world.wall + timedelta(seconds=30)
        streams(world, is_live=True, started_at=began)
        wrote(world, 2, "hi")
        await world.watch.settle()
        assert autonomy.state().chat.messages == 1
        world.bus.publish(StreamChanged(stream=StreamState(platform="twitch")))
        streams(world, is_live=True, started_at=began, viewers=3)
        wrote(world, 3, "hi")
        await world.watch.settle()
        assert autonomy.state().chat.messages == 2


async def test_she_is_tired_of_a_stream_that_ran_before_she_was_switched_on(world: World) -> None:
    async with running(world, RAID) as autonomy:
        fresh = autonomy.state().mood.energy
        streams(world, is_live=True, started_at=world.wall - timedelta(hours=8))
        await world.watch.settle()
        world.go(6 * 3600)
        assert autonomy.state().mood.energy < 0.75 * fresh


async def test_a_number_of_followers_is_reached_once(world: World) -> None:
    rule = trigger("hundred", {"kind": "milestone", "of": "followers", "at": [100]})
    rule["do"] = {"texts": ["{count} followers!"]}
    async with running(world, rule) as autonomy:
        for count in (99, 101, 98, 102):
            streams(world, followers=count)
            await begun(world, autonomy)
            await heard(world, autonomy)
        assert [act[2] for act in acts(world)] == ["100 followers!"]
    async with running(world) as again:
        for count in (97, 103):
            streams(world, followers=count)
            await begun(world, again)
        assert len(acts(world)) == 1


async def test_what_is_known_of_the_stream_when_she_is_switched_on_counts(world: World) -> None:
    autonomy = world.autonomy()
    autonomy._stream_now = lambda: StreamState(platform="twitch", channel="kira", game="Chess")
    await autonomy.start()
    assert autonomy.stream["game"] == "Chess"
    await autonomy.stop()


async def test_replies_are_told_how_she_feels_while_the_module_is_on(world: World) -> None:
    autonomy = world.autonomy()
    assert autonomy.manner == ""
    async with running(world, RAID) as autonomy:
        before = autonomy.manner
        assert before.startswith("Right now you feel ")
        for n in range(8):
            wrote(world, n, "you stupid idiot", mentions_us=True)
        await world.watch.settle()
        assert autonomy.manner == before  # for a moment
        world.go(11)
        assert autonomy.manner != before
        assert "stupid" not in autonomy.manner
        assert (await autonomy.dry_run()).feels == autonomy.manner
        assert (await autonomy.dry_run("raid")).feels == autonomy.manner


async def test_dice_that_were_thrown_for_a_time_of_day_are_kept(world: World) -> None:
    rule = trigger("news", {"kind": "at", "times": ["18:05"]}, probability=0.5)
    async with running(world, rule, dice=lambda: 0.9) as autonomy:
        autonomy.use(Options(gap_s=0, zone=UTC))
        world.go(301)
        await autonomy.step()
        world.go(6)
        await autonomy.step()
        kept = dict(world.store.values)
    world.store.values = kept
    async with running(world) as again:
        again.use(Options(gap_s=0, zone=UTC))
        await begun(world, again)
        assert acts(world) == []


async def test_a_memory_that_cannot_be_read_costs_nothing_but_itself(world: World) -> None:
    world.store.values = {"autonomy.state": '{"schedule": 7}', "autonomy.triggers": '{"nope": 1}'}
    async with running(world) as autonomy:
        assert autonomy.rules == SHIPPED
        assert autonomy.state().triggers


async def test_the_window_is_told_at_most_once_a_second_and_only_of_news(world: World) -> None:
    async with running(world, RAID) as autonomy:
        for _ in range(50):
            world.go(0.1)
            await autonomy.step()
        await world.watch.settle()
        assert len(world.watch.of("autonomy.changed")) == 1
        raid(world)
        await begun(world, autonomy)
        world.go(1)
        await begun(world, autonomy)
        told = world.watch.of("autonomy.changed")[-1]
        assert isinstance(told, AutonomyChanged)
        assert told.autonomy.acting == "raid"
        await heard(world, autonomy)


async def test_switched_on_it_acts_by_itself_and_off_it_falls_silent(world: World) -> None:
    autonomy = world.autonomy()
    await autonomy.open()
    await autonomy.set_rules(checked({"triggers": [RAID]}))
    await autonomy.start()
    assert autonomy.health().state == "ready"
    await world.watch.settle()
    raid(world)
    await world.watch.until("playback.started")
    await autonomy.stop()
    assert autonomy.health().state == "off"
    await world.watch.until("turn.finished")
    assert not world.chat.is_busy(STAGE)
    assert "autonomy.state" in world.store.values


# --- rules ---


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"triggers": [{"id": "A b", "when": {"kind": "silence", "seconds": 60}, "do": {"scene": "x"}}]}, "trigger 'A b': id"),
        ({"triggers": [trigger("x", {"kind": "silence", "seconds": 1})]}, "trigger 'x': when.silence.seconds"),
        ({"triggers": [trigger("x", {"kind": "at", "times": ["25:00"]})]}, "trigger 'x': when.at.times.0"),
        ({"triggers": [{**trigger("x", {"kind": "silence", "seconds": 60}), "do": {}}]}, "nothing would happen"),
        ({"triggers": [trigger("x", {"kind": "milestone", "of": "bits"})]}, "a milestone needs numbers"),
        ({"triggers": [{**RAID, "chance": 1}]}, "trigger 'raid': chance"),
        ({"quiet": [{"start": "10:00", "until": "10:00"}]}, "have no length"),
        ({"triggers": [RAID, RAID]}, "two triggers are called 'raid'"),
        ("nonsense", "valid dictionary"),
        ({"triggers": 3}, "triggers"),
    ],
)  # fmt: skip
def test_wrong_rules_say_what_is_wrong_where(given: object, words: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        checked(given)
    assert words in refused.value.message


def test_the_rules_that_ship_are_sound_and_come_back_as_they_were() -> None:
    assert TriggerRules.model_validate_json(SHIPPED.model_dump_json()) == SHIPPED
    assert len({when_in_words(one.when) for one in SHIPPED.triggers}) == len(SHIPPED.triggers)
    around = Around(at=WALL)
    assert around.style == "casual"


def test_amounts_and_milestones_are_taken_exactly() -> None:
    (rule,) = checked(
        {"triggers": [trigger("x", {"kind": "viewer", "does": "cheer", "at_least": 100})]}
    ).triggers
    for amount, is_enough in ((99, False), (100, True)):
        cheer = ViewerEvent(
            id="1", platform="t", kind="cheer", viewer=viewer("a"), amount=amount, at=WALL
        )
        assert is_set_off(rule.when, cheer) is is_enough
    when = Milestone(of="messages", at=(5, 50), every=100)
    assert [reached(when, a, b) for a, b in ((4, 5), (5, 6), (40, 260), (99, 100))] == [
        5,
        None,
        200,
        100,
    ]
