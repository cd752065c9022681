"""Commands that viewers type: what they do, who may, and that nothing that is typed breaks them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from backend.avatar.cues import Cues
from backend.avatar.rigs import Rigs
from backend.avatar.state import AvatarState
from backend.chat import viewer_commands as module
from backend.chat.reply import cleaned
from backend.chat.viewer_commands import LONGEST_ANSWER, Outcome, ViewerCommands, parse, uncued
from backend.chat.viewers import presented
from backend.contracts.audience import AudienceMessage, CustomCommand, Role, Verdict, Viewer
from backend.contracts.entities import Character
from backend.contracts.errors import ConflictError, InvalidInputError, NotFoundError
from backend.contracts.events import SceneCalled
from backend.core.bus import EventBus
from backend.storage.database import Database
from tests.fakes import Watch
from tests.unit.chat.test_commands import MIKA, RIG

AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Sounds:
    """Two sounds that nobody hears."""

    played: list[str] = field(default_factory=list)

    async def check(self, name: str) -> None:
        if name not in ("horn.wav", "bell.wav"):
            raise InvalidInputError(f"There is no sound {name!r}.")

    async def play(self, name: str) -> float:
        await self.check(name)
        self.played.append(name)
        return 1.0


@dataclass
class Stall:
    """Commands over a real database and a real avatar, with a clock the test moves."""

    bus: EventBus
    cues: Cues
    commands: ViewerCommands
    now_s: float = 0.0
    writes: bool = True
    recites: bool = False
    sounds: Sounds = field(default_factory=lambda: Sounds())

    async def type(self, text: str, who: str = "ann", role: Role = "viewer") -> Outcome | None:
        said = AudienceMessage(
            id="m",
            platform="twitch",
            channel="home",
            viewer=Viewer(platform="twitch", id=who, name=who.title(), role=role),
            text=text,
            at=AT,
        )
        return await self.commands.run(said.text, presented(said, "Alex"))

    async def done(self, text: str, who: str = "ann", role: Role = "viewer") -> Outcome:
        outcome = await self.type(text, who, role)
        assert outcome is not None
        return outcome


@pytest.fixture
async def stall(tmp_path: Path) -> AsyncIterator[Stall]:
    folder = tmp_path / "rigs" / "mika"
    folder.mkdir(parents=True)
    (folder / "rig.json").write_text(json.dumps(RIG))
    rigs = Rigs(tmp_path / "rigs", tmp_path / "none")
    await rigs.refresh(now=True)
    database = Database("", tmp_path / "data")
    await database.open()
    bus = EventBus()
    cues = Cues(AvatarState(bus), rigs, {"mika": MIKA}.get)
    sounds = Sounds()

    async def character() -> Character:
        return MIKA

    stall: Stall
    commands = ViewerCommands(
        bus=bus,
        database=database,
        cues=cues,
        character=character,
        sounds=sounds,
        may_recite=lambda: stall.recites,
        can_write=lambda platform: stall.writes,
        now_s=lambda: stall.now_s,
    )
    await commands.open()
    stall = Stall(bus, cues, commands, sounds=sounds)
    yield stall
    await commands.close()
    await database.close()


def custom(name: str = "hug", **values: object) -> CustomCommand:
    given: dict[str, object] = {"action": "prompt", "value": "{user} hugs you {args}", **values}
    return CustomCommand(name=name, **given)


# --- reading ---


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("!expression joy", ("expression", "joy")),
        ("  !MOTION  Tap   Body 2 ", ("motion", "Tap Body 2")),
        ("!help", ("help", "")),
        ("!say\tso\nso", ("say", "so so")),
        ("!say \u202ea\u200bb", ("say", "ab")),
    ],
)
def test_a_command_is_an_exclamation_mark_and_a_plain_word(
    typed: str, read: tuple[str, str]
) -> None:
    assert parse(typed) == read


@pytest.mark.parametrize(
    "typed",
    [
        "hello !say this",
        "!",
        "!!!",
        "! say",
        "\uff01say this",
        "\u01c3say this",
        "!\u200bsay this",
        "!s\u0430y this",
        "!say\u0301 this",
        "\u202e!say this",
        "!" + "a" * 33,
        "!" + "9" * 1_000_000,
        "",
    ],
)
def test_everything_else_is_a_message(typed: str) -> None:
    assert parse(typed) is None


# --- what comes with Luma ---


async def test_a_viewer_changes_her_face_and_moves_her(stall: Stall) -> None:
    assert (await stall.done("!expression joy")).text == "Mika shows joy."
    assert stall.cues.shown(MIKA).expression == "joy"
    assert (await stall.done("!motion gesture 0")).text == "Mika plays wave."


async def test_what_she_cannot_do_is_refused_in_words_and_rests_nothing(stall: Stall) -> None:
    refused = await stall.done("!expression furious")
    assert refused.is_refused
    assert "joy" in refused.text
    assert not (await stall.done("!expression joy")).is_refused


async def test_say_asks_her_and_word_for_word_is_for_moderators_by_setting(stall: Stall) -> None:
    assert (await stall.done("!say hello all")).prompt == "hello all"
    assert (await stall.done("!say hello all", "mo", "moderator")).prompt == "hello all"
    stall.recites = True
    assert (await stall.done("!say hello all", "mo", "moderator")).recital == "hello all"
    assert (await stall.done("!say hello all", "bob")).recital == ""


async def test_word_for_word_is_moderated_too(stall: Stall) -> None:
    stall.recites = True
    stall.commands.check_out = lambda text: Verdict(action="mask", text="h**** all")
    assert (await stall.done("!say hello all", "mo", "moderator")).recital == "h**** all"
    stall.commands.check_out = lambda text: Verdict(action="ignore", reason="a bad word")
    refused = await stall.done("!say hello all", "mo", "moderator")
    assert (refused.is_refused, "a bad word" in refused.text) == (True, True)


async def test_help_lists_what_the_viewer_may(stall: Stall) -> None:
    await stall.commands.put(custom("modonly", role="moderator"))
    everybody = (await stall.done("!help", "ann")).answer
    assert everybody.startswith("Commands: !expression")
    assert "!modonly" not in everybody
    assert "!modonly" in (await stall.done("!help", "mo", "moderator")).answer


# --- the streamer's own ---


async def test_a_template_is_filled_once(stall: Stall) -> None:
    await stall.commands.put(
        custom(action="text", value="{user} in {channel}: {args} ({count})", cooldown_s=0)
    )
    outcome = await stall.done("!hug {user} {count}")
    assert outcome.answer == "Ann in home: {user} {count} (1)"
    assert (await stall.done("!hug x", "bob")).answer == "Bob in home: x (2)"


@pytest.mark.parametrize("typed", ["/ban ann", ".timeout ann", "!raid x", "/.!ban ann"])
async def test_what_is_written_is_never_a_command_of_the_platform(stall: Stall, typed: str) -> None:
    await stall.commands.put(custom(action="text", value="{args}"))
    assert (await stall.done(f"!hug {typed}")).answer[0] not in "/.!"


async def test_an_answer_fits_into_a_message(stall: Stall) -> None:
    await stall.commands.put(custom(action="text", value="{args}{args}{args}"))
    assert len((await stall.done("!hug " + "x" * 500)).answer) == LONGEST_ANSWER


async def test_where_nothing_can_be_written_it_is_said(stall: Stall) -> None:
    stall.writes = False
    await stall.commands.put(custom(action="text", value="hi"))
    outcome = await stall.done("!hug")
    assert (outcome.answer, "nothing can be written into twitch" in outcome.text) == ("", True)


async def test_a_scene_is_called_for_whoever_changes_scenes(stall: Stall) -> None:
    await stall.commands.put(custom(action="scene", value="Kitchen"))
    async with Watch(stall.bus) as seen:
        outcome = await stall.done("!hug Bedroom")
        await seen.settle()
    assert outcome.text == "called the scene Kitchen"
    called = seen.of("scene.called")[0]
    assert isinstance(called, SceneCalled)
    assert (called.scene, called.by, called.viewer, called.message_id) == (
        "Kitchen",
        "!hug",
        "Ann",
        "m",
    )


@pytest.mark.parametrize("scene", ["{args}", "Cam {user}"])
async def test_a_viewer_cannot_name_a_scene(stall: Stall, scene: str) -> None:
    with pytest.raises(InvalidInputError, match="has a place for what viewers type"):
        await stall.commands.put(custom(action="scene", value=scene))


async def test_a_sound_is_played(stall: Stall) -> None:
    await stall.commands.put(custom(action="sound", value="horn.wav", cooldown_s=0))
    assert (await stall.done("!hug ../x.wav")).text == "plays horn.wav"
    assert stall.sounds.played == ["horn.wav"]
    with pytest.raises(InvalidInputError, match="There is no sound"):
        await stall.commands.put(custom(action="sound", value="none.wav"))


@pytest.mark.parametrize(
    "typed",
    [
        "[joy] hi",
        "<expression:joy> hi",
        "*waves* hi",
        "<think> hi",
        "< / think >[x]",
        "<<think> hi",
        "<</<motion:wave> hi",
        "[[joy]] **waves** * *waves* *",
    ],
)
async def test_what_a_viewer_types_never_moves_her_where_she_says_it(
    stall: Stall, typed: str
) -> None:
    await stall.commands.put(custom(action="say", value="[wave] {user} says {args}"))
    recital = (await stall.done(f"!hug {typed}", "a[joy]b")).recital
    text, cues = cleaned(recital)
    assert [cue.name for cue in cues] == ["wave"]
    assert text.startswith("A(Joy)B says ")
    stall.recites = True
    words = (await stall.done(f"!say {typed} there", "mo", "moderator")).recital
    assert cleaned(words)[1] == []
    assert words.endswith("there")


MARKS = st.lists(
    st.sampled_from(["[", "]", "<", ">", "*", "/", " ", ":", "think", "expression", "joy", "3"]),
    max_size=14,
).map("".join)


@given(MARKS)
@settings(max_examples=300, deadline=None)
def test_whatever_marks_are_typed_nothing_moves_her_and_no_word_is_swallowed(typed: str) -> None:
    words = uncued(" ".join(typed.split()))
    shown, cues = cleaned(words)
    assert cues == []
    assert [char for char in shown if char.isalnum()] == [char for char in typed if char.isalnum()]


def test_words_without_tags_stay_as_they_are() -> None:
    assert uncued("2 * 3 < 4 and I <3 you") == "2 * 3 < 4 and I <3 you"


async def test_roles_are_kept_to(stall: Stall) -> None:
    await stall.commands.put(custom(role="subscriber", cooldown_s=0))
    assert (await stall.done("!hug")).text == "!hug is for subscribers, VIPs and moderators."
    roles: tuple[Role, ...] = ("subscriber", "vip", "moderator", "broadcaster")
    for role in roles:
        assert not (await stall.done("!hug", role, role)).is_refused


async def test_a_command_rests_for_everybody_and_longer_for_whoever_used_it(stall: Stall) -> None:
    await stall.commands.put(custom(cooldown_s=5, user_cooldown_s=20))
    assert not (await stall.done("!hug", "ann")).is_refused
    assert (await stall.done("!hug", "bob")).text == "!hug rests for 5 s more."
    assert not (await stall.done("!hug", "mo", "moderator")).is_refused
    stall.now_s = 6
    assert (await stall.done("!hug", "ann")).text == "Ann may use !hug again in 14 s."
    assert not (await stall.done("!hug", "bob")).is_refused


async def test_a_second_one_is_refused_while_moderation_thinks_about_the_first(
    stall: Stall,
) -> None:
    may_go = asyncio.Event()

    async def slow(text: str) -> Verdict:
        await may_go.wait()
        return Verdict(action="ignore" if "bad" in text else "allow", text=text)

    stall.commands.check_out = slow
    await stall.commands.put(custom(action="say", value="{args}"))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(stall.done("!hug one", "ann"))
        await asyncio.sleep(0)
        second = group.create_task(stall.done("!hug two", "bob"))
        await asyncio.sleep(0)
        may_go.set()
    assert (first.result().recital, second.result().is_refused) == ("one", True)
    stall.now_s = 100
    assert (await stall.done("!hug bad", "ann")).is_refused
    assert not (await stall.done("!hug fine", "ann")).is_refused


async def test_aliases_mean_the_same_and_words_are_given_once(stall: Stall) -> None:
    await stall.commands.put(custom(aliases=("cuddle",)))
    assert (await stall.done("!CUDDLE me")).prompt == "Ann hugs you me"
    with pytest.raises(ConflictError, match="!cuddle means !hug already"):
        await stall.commands.put(custom("cuddle"))
    with pytest.raises(ConflictError, match="!say means !say"):
        await stall.commands.put(custom("other", aliases=("say",)))


async def test_one_that_is_off_does_nothing(stall: Stall) -> None:
    await stall.commands.put(custom(is_on=False))
    assert await stall.type("!hug") is None


async def test_what_comes_with_luma_can_be_limited_and_not_replaced(stall: Stall) -> None:
    builtin = stall.commands.get("expression").command
    await stall.commands.put(builtin.model_copy(update={"role": "moderator"}))
    assert (await stall.done("!expression joy")).is_refused
    with pytest.raises(InvalidInputError, match="comes with Luma"):
        await stall.commands.put(custom("expression"))
    await stall.commands.delete("expression")
    assert not (await stall.done("!expression joy")).is_refused


async def test_commands_and_their_counts_outlive_a_restart(stall: Stall, tmp_path: Path) -> None:
    await stall.commands.put(custom())
    await stall.done("!hug")
    await stall.commands.close()
    again = ViewerCommands(
        bus=stall.bus,
        database=stall.commands._database,
        cues=stall.cues,
        character=stall.commands._character,
        sounds=stall.sounds,
    )
    await again.open()
    assert (again.get("hug").uses, again.get("hug").command) == (1, custom())
    await again.delete("hug")
    with pytest.raises(NotFoundError):
        again.get("hug")


async def test_a_long_rest_and_the_count_outlive_a_kill(
    stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORE_S", 0.0)
    wall = [AT]
    stall.commands._wall = lambda: wall[0]
    await stall.commands.put(
        custom("daily", action="text", value="{count}", cooldown_s=3600, user_cooldown_s=86_400)
    )
    await stall.commands.put(custom("short", action="text", value="x", cooldown_s=30))
    assert (await stall.done("!daily")).answer == "1"
    await stall.done("!short")

    async def stored() -> None:
        while (storing := stall.commands._storing) is not None:
            await asyncio.wait([storing])

    await stored()

    def again(seconds: float) -> ViewerCommands:
        return ViewerCommands(
            bus=stall.bus,
            database=stall.commands._database,
            cues=stall.cues,
            character=stall.commands._character,
            sounds=stall.sounds,
            can_write=lambda platform: True,
            now_s=lambda: 5.0,
            wall=lambda: AT + timedelta(seconds=seconds),
        )

    said: dict[float, list[str]] = {}
    for seconds in (600.0, 4000.0, -50.0):
        stall.commands = again(seconds)
        await stall.commands.open()
        said[seconds] = [(await stall.done("!daily", who)).text for who in ("bob", "ann")]
        assert not (await stall.done("!short", "bob")).is_refused
        await stored()
    assert said[600.0][0] == "!daily rests for 3000 s more."
    assert said[4000.0] == ["wrote: 2", "!daily rests for 3600 s more."]
    assert said[-50.0][0] == "!daily rests for 3600 s more."


@pytest.mark.parametrize("kept", ["", "[]", "{}", '{"at": 5}', '{"at": "x", "all": {}}', "nul"])
async def test_rests_that_cannot_be_read_are_left_out(stall: Stall, kept: str) -> None:
    stall.commands._load(kept)
    assert not (await stall.done("!expression joy")).is_refused


@pytest.mark.parametrize("name", ["Hug", "h g", "", "h\u00fcg", "x" * 33, "hug\n"])
def test_a_command_is_called_by_a_plain_word(name: str) -> None:
    with pytest.raises(ValidationError):
        custom(name)


# --- anything a viewer can type ---

NASTY = st.sampled_from(
    [
        "9" * 1_000_000,
        "[joy]<expression:joy>*waves*" * 20,
        "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324" * 90,
        "\u2067\u202d\u05e9\u05dc\u05d5\u05dd\u202c\u2069" * 40,
        "\uff3bjoy\uff3d \u2768joy\u2769 \u301ajoy\u301b",
        "\u0336\u0301\u030b" * 500,
        "\u200b\u200d\ufeff" * 100,
        "\u202e\u2066\u2069" * 50,
        "\U0001f600" * 10_000,
        "{user}{args}{count}" * 50,
        '"' * 999,
        "'\"" * 400,
        "((((" * 200,
        "\ud800",
        "\x00\x1b[31m",
        "\ufdfa" * 600,
        "-1",
        "1e999",
        " " * 5000,
    ]
)
WORDS = st.sampled_from(
    ["expression", "motion", "say", "help", "hug", "horn", "go", "write", "tell", "x"]
)
TYPED = st.one_of(
    st.text(max_size=300),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(
            ["!", " !", "!!", "\uff01", "!\u200b", "\u202e!", "! ", "\u01c3", "\ufe57"]
        ),
        WORDS,
        st.sampled_from([" ", "", "\u00a0", "\u3000", "\t", "\n", "\u0301 "]),
        st.one_of(NASTY, st.text(max_size=200), st.sampled_from(["joy", "wave", "gesture 0"])),
    ),
    st.builds("!{} {}".format, WORDS, NASTY),
)


@given(typed=TYPED, role=st.sampled_from(["viewer", "moderator", "broadcaster"]))
@settings(
    max_examples=2_000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_nothing_that_is_typed_raises_or_takes_long(
    stall: Stall, typed: str, role: Role
) -> None:
    if not stall.commands._own:
        await stall.commands.put(custom(cooldown_s=0, user_cooldown_s=0))
        await stall.commands.put(custom("horn", action="sound", value="horn.wav"))
        await stall.commands.put(custom("go", action="scene", value="Kitchen"))
        await stall.commands.put(custom("tell", action="say", value="{user} {args}"))
        await stall.commands.put(custom("write", action="text", value="{args} {user}"))
    began_s = time.thread_time()
    outcome = await stall.type(typed, "\u202e" + "x" * 3 + "\u0336" * 9, role)
    assert time.thread_time() - began_s < 0.5
    if outcome is not None:
        assert len(outcome.text) <= 400
        assert len(outcome.answer) <= LONGEST_ANSWER
        assert "\u202e" not in outcome.text + outcome.answer + outcome.prompt + outcome.recital
        assert cleaned(outcome.recital)[1] == []
