"""Commands that the operator types: what they do, and that nothing that is typed breaks them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.avatar.cues import Cues
from backend.avatar.rigs import Rigs
from backend.avatar.state import AvatarState
from backend.chat.commands import COMMANDS, Commands, parse
from backend.contracts.entities import Character
from backend.core.bus import EventBus

RIG = {
    "format": 1,
    "title": "Mika",
    "kind": "puppet",
    "expressions": ["neutral", "joy", "sad"],
    "motions": [
        {"group": "gesture", "index": 0, "name": "wave"},
        {"group": "Tap Body", "index": 2, "name": "high five"},
        {"group": "", "index": 1, "name": "step 2"},
    ],
    "aliases": {"hello": "wave"},
    "puppet": {"layers": []},
}
MIKA = Character(id="mika", name="Mika")


@pytest.fixture
async def cues(tmp_path: Path) -> Cues:
    folder = tmp_path / "rigs" / "mika"
    folder.mkdir(parents=True)
    (folder / "rig.json").write_text(json.dumps(RIG))
    rigs = Rigs(tmp_path / "rigs", tmp_path / "none")
    await rigs.refresh(now=True)
    state = AvatarState(EventBus())
    return Cues(state, rigs, {"mika": MIKA}.get)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("!expression joy", "joy"),
        ("!expression  JOY ", "joy"),
        ("!EXPRESSION 2", "sad"),
        ('!expression "neutral"', "neutral"),
    ],
)
async def test_an_expression_is_typed_by_name_or_number(cues: Cues, typed: str, shown: str) -> None:
    notice = Commands(cues).run(typed, MIKA)
    assert notice is not None
    assert (notice.text, notice.is_refused) == (f"Mika shows {shown}.", False)
    now = cues.shown(MIKA)
    assert (now.expression, now.owner) == (shown, "command")


@pytest.mark.parametrize(
    ("typed", "played"),
    [
        ("!motion wave", "wave"),
        ("!motion Hello", "wave"),
        ("!motion gesture 0", "wave"),
        ("!motion Tap Body 2", "high five"),
        ('!motion "Tap Body" 2', "high five"),
        ("!motion high five", "high five"),
        ("!motion '' 1", "step 2"),
        ('!motion "step 2"', "step 2"),
    ],
)
async def test_a_motion_is_typed_by_name_or_by_group_and_number(
    cues: Cues, typed: str, played: str
) -> None:
    notice = Commands(cues).run(typed, MIKA)
    assert notice is not None
    assert notice.text == f"Mika plays {played}."
    motion = cues.shown(MIKA).motion
    assert motion is not None
    assert motion.name == played
    cues.avatar.close()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("!expression fury", "neutral, joy, sad"),
        ("!expression 3", "numbered from 0"),
        ("!expression", "!expression joy"),
        ("!motion fly", "wave (gesture 0)"),
        ("!motion gesture 9", "wave (gesture 0)"),
        ("!motion", "!motion wave"),
    ],
)
async def test_what_cannot_be_done_is_said_with_what_can(
    cues: Cues, typed: str, words: str
) -> None:
    notice = Commands(cues).run(typed, MIKA)
    assert notice is not None
    assert notice.is_refused
    assert words in notice.text
    assert cues.shown(MIKA).owner == ""


async def test_a_motion_that_has_to_wait_says_for_what(cues: Cues) -> None:
    commands = Commands(cues)
    commands.run("!motion wave", MIKA)
    notice = commands.run("!motion high five", MIKA)
    assert notice is not None
    assert notice.text == "high five waits for wave."
    cues.avatar.close()


@pytest.mark.parametrize(
    "typed", ["!", "!!", "!important: tea", "! motion wave", "motion wave", "!motions x"]
)
async def test_other_words_are_a_message(cues: Cues, typed: str) -> None:
    assert Commands(cues).run(typed, MIKA) is None


PIECES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "!",
            "!expression",
            "!motion",
            " ",
            '"',
            "'",
            "gesture",
            "0",
            "99999999999999",
            "²",
            "-1",
            "joy",
            "\x00",
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join))
def test_whatever_is_typed_gives_a_command_of_ours_or_none(text: str) -> None:
    name, rest = parse(text)
    assert name is None or name in COMMANDS
    assert rest == rest.strip()


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["!expression ", "!motion ", "!MOTION\t"]),
    st.lists(PIECES, max_size=6).map("".join),
)
def test_whatever_is_typed_behind_a_command_gives_a_notice(head: str, text: str) -> None:
    class Never:
        def call_later(self, delay_s: float, call: object) -> Never:
            return self

        def cancel(self) -> None:
            """Nothing was ever to happen."""

    state = AvatarState(EventBus(), now_s=lambda: 0.0, call_later=Never().call_later)
    notice = Commands(Cues(state, Rigs(Path("nowhere"), Path("nowhere")), lambda _: None)).run(
        head + text, MIKA
    )
    assert notice is not None
    assert notice.text
    assert len(notice.text) <= 400
