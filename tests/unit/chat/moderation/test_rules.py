"""What rules find, what they let through, and that no text makes them fail or stall."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.chat.moderation.moderator import (
    KEPT_OF_ONE,
    MOST_TEXTS,
    MOST_VIEWERS,
    NOT_SHOWN,
    Moderator,
)
from backend.chat.moderation.normal import fold, masked
from backend.chat.moderation.patterns import Pattern, PatternError
from backend.chat.moderation.profile import SHIPPED, Profile, Profiles, parsed, shipped_words
from backend.chat.moderation.rules import LONGEST_CHARS, Compiled
from backend.contracts.audience import Emote, Role, Verdict, Viewer
from backend.contracts.errors import InvalidInputError, NotFoundError
from tests import disguises, harmless


def viewer(name: str = "Bob", role: Role = "viewer") -> Viewer:
    return Viewer(platform="test", id=name, name=name, role=role)


def moderator(tmp_path: Path, name: str = "standard", *, is_family: bool = False) -> Moderator:
    made = Moderator(tmp_path)
    made.put(made.compiled(name, is_family=is_family))
    return made


def with_rules(tmp_path: Path, *rules: dict[str, object], **more: object) -> Moderator:
    made = Moderator(tmp_path)
    made.put(Compiled(Profile.model_validate({"name": "t", "rules": rules, **more})))
    return made


def words(*lines: str, **more: object) -> dict[str, object]:
    return {"name": "own", "kind": "words", "words": lines, "incoming": "mask", **more}


@pytest.mark.parametrize(("name", "most"), [("standard", 10), ("relaxed", 10), ("family", 10)])
def test_at_most_one_of_a_hundred_harmless_lines_is_blocked(
    tmp_path: Path, name: str, most: int
) -> None:
    rules = moderator(tmp_path, name)
    lines = harmless.lines()
    assert len(set(lines)) == 1_000
    blocked = [
        line
        for n, line in enumerate(lines)
        if rules.check_in(line, viewer(str(n))).action != "allow"
        or rules.check_out(line).action != "allow"
    ]
    assert len(blocked) <= most, blocked


def test_disguised_words_are_found_and_exactly_covered(tmp_path: Path) -> None:
    rules = with_rules(tmp_path, words("badword", "dark moon"))
    for text, covered in (
        ("a badword!", "a *******!"),
        ("b a d w o r d", "* * * * * * *"),
        ("B4DW0RD123", "*******123"),
        ("crab badword does", "crab ******* does"),
        ("ba.dword", "********"),
        ("b\u0301\u0302a\u200bdw\u043erd ok", "******* ok"),
        ("x \uff42\uff41\uff44\uff57\uff4f\uff52\uff44 x", "x ******* x"),
        ("\U0001f171\ufe0fadword", "*******"),
        ("baaadwooord", "***********"),
        ("badvvord", "********"),
        ("the darkmoon", "the ********"),
        ("the dark, moon.", "the ***** ****."),
    ):
        assert rules.check_in(text).text == covered, text


@pytest.mark.parametrize(
    "text",
    ["badwordly", "abadword", "dark", "moon dark", "bad", "word", "b d w r d", "darkness moon"],
)
def test_what_is_not_the_word_stays(tmp_path: Path, text: str) -> None:
    assert with_rules(tmp_path, words("badword", "dark moon")).check_in(text) == Verdict(text=text)


def test_stars_say_where_a_word_may_go_on(tmp_path: Path) -> None:
    rules = with_rules(tmp_path, words("*mid*", "pre*", "*post", exceptions=["amidst"]))
    found = {
        text: rules.check_in(text).action
        for text in ("amid", "amidst", "prefix", "ipre", "outpost", "posting", "xmidx")
    }
    assert found == {
        "amid": "mask",
        "amidst": "allow",
        "prefix": "mask",
        "ipre": "allow",
        "outpost": "mask",
        "posting": "allow",
        "xmidx": "mask",
    }


def test_whether_digits_end_a_word_is_policy(tmp_path: Path) -> None:
    assert with_rules(tmp_path, words("badword")).check_in("badword123").action == "mask"
    strict = with_rules(tmp_path, words("badword", digits_end=False))
    assert strict.check_in("badword123").action == "allow"


def test_shipped_words_are_found_in_disguise(tmp_path: Path) -> None:
    rules = moderator(tmp_path, "family")
    random = Random(7)
    missed = []
    for line in (*shipped_words("slurs"), *shipped_words("profanity")):
        word = line.strip("*")
        for change in (disguises.cased, disguises.spaced, disguises.unseen, disguises.wide):
            text = change(word, random)
            if rules.check_in(f"well, {text} then").action == "allow":
                missed.append((word, text))
    assert missed == []


@pytest.mark.parametrize(
    ("text", "is_link"),
    [
        ("see https://evil.example/x", True),
        ("evil.com", True),
        ("evil dot com", True),
        ("evil (dot) com", True),
        ("ev\u200bil\u3002com", True),
        ("sub.evil.co.uk/path", True),
        ("look at discord.gg/abc", True),
        ("youtube.com/watch", False),
        ("en.wikipedia.org", False),
        ("that was great.So what", False),
        ("3.14 and 2.0", False),
        ("connect the dot to it", False),
        ("notyoutube.com", True),
        ("https://evil.example#.youtube.com", True),
        ("https://evil.example?.youtube.com", True),
        ("https://evil.example\\.youtube.com", True),
        ("https://youtube.com:x@evil.example/", True),
        ("evil.com#youtube.com", True),
        ("//evil.com/x", True),
        ("evil[.]com", True),
        ("evil(dot)com/x", True),
        ("https://www.youtube.com:443/watch?v=1#t=2", False),
        ("(youtube.com)", False),
        ("wait(.)what", False),
    ],
)
def test_links(tmp_path: Path, text: str, is_link: bool) -> None:
    verdict = moderator(tmp_path).check_in(text)
    assert (verdict.rule == "links") is is_link


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("bob@example.com", "email"),
        ("bob at example dot com", "email"),
        ("call +49 171 5551234", "phone"),
        ("call 0171/555 12 34", "phone"),
        ("555-123-4567", "phone"),
        ("4111 1111 1111 1111", "card"),
        ("DE89 3704 0044 0532 0130 00", "iban"),
        ("93.184.216.34", "ip"),
        ("I live at 12 Long Road", "address"),
        ("Lange Stra\u00dfe 12", "address"),
        ("rue Haute 12", "address"),
        ("4111 1111 1111 1112", ""),
        ("DE89 3704 0044 0532 0130 01 x", ""),
        ("192.168.0.1", ""),
        ("version 1.2.3.4", ""),
        ("on 2024-11-21 at 20:15", ""),
        ("12 345 steps down the road", ""),
    ],
)
def test_personal_data(tmp_path: Path, text: str, kind: str) -> None:
    rules = with_rules(
        tmp_path,
        {
            "name": "private",
            "kind": "private",
            "what": [kind or each for each in ("card", "iban", "ip", "address")][
                : 1 if kind else 4
            ],
            "incoming": "mask",
        },
    )
    verdict = rules.check_in(text)
    assert (f"({kind})" in verdict.reason) if kind else verdict.action == "allow"


def test_the_same_message_again_and_again_is_spam(tmp_path: Path) -> None:
    now = [0.0]
    rules = Moderator(tmp_path, now_s=lambda: now[0])
    rules.put(rules.compiled("standard"))
    seen = [
        rules.check_in(text, viewer()).rule
        for text in ("Buy it!", "buy it", "BUY IT!!", "b u y it")
    ]
    assert seen == ["", "", "", "repetition"]
    assert rules.check_in("Buy it!", viewer("Eve")).action == "allow"
    now[0] = 61.0
    assert rules.check_in("Buy it!", viewer()).action == "allow"
    copied = "This is the text that everybody pastes into the chat at once, over and over again."
    copies = [rules.check_in(copied, viewer(str(n))).rule for n in range(4)]
    assert copies == ["", "", "", "repetition"]
    only_looked_at = [rules.check_in("again", viewer("Z"), is_new=False).rule for _ in range(9)]
    assert only_looked_at == [""] * 9


def test_viewers_who_say_the_same_with_other_numbers_are_no_copies(tmp_path: Path) -> None:
    rules = moderator(tmp_path)
    vote = "I think everybody in here should really vote for the map with the number {}, please"
    votes = [rules.check_in(vote.format(n), viewer(str(n))).rule for n in range(12)]
    assert votes == [""] * 12
    noise = [rules.check_in(vote.format(10**9 + n), viewer(f"n{n}")).rule for n in range(4)]
    assert noise == ["", "", "", "repetition"]
    glued = [rules.check_in(vote.format(f"one{n}"), viewer(f"g{n}")).rule for n in range(4)]
    assert glued == ["", "", "", "repetition"]


def test_what_is_remembered_of_messages_is_bounded(tmp_path: Path) -> None:
    rules = moderator(tmp_path)
    for n in range(MOST_VIEWERS + 500):
        rules.check_in(
            f"message {'x' * (n % 7)} {chr(97 + n % 26)} {fold(str(n)).text}", viewer(str(n))
        )
    for n in range(KEPT_OF_ONE + 50):
        rules.check_in(f"own {n}", viewer("one"))
    assert len(rules._said) <= MOST_VIEWERS
    assert len(rules._texts) <= MOST_TEXTS
    assert max(len(each) for each in rules._said.values()) <= KEPT_OF_ONE
    assert max(len(each) for each in rules._texts.values()) <= KEPT_OF_ONE


def test_walls_of_emotes_capitals_length_and_stacked_marks(tmp_path: Path) -> None:
    rules = with_rules(
        tmp_path,
        {"name": "emotes", "kind": "emotes", "most": 2, "incoming": "mask"},
        {"name": "caps", "kind": "caps", "least": 10, "incoming": "mask"},
        {"name": "length", "kind": "length", "most": 60, "incoming": "mask"},
        {"name": "zalgo", "kind": "zalgo", "most": 2, "incoming": "mask"},
    )
    assert rules.check_in("hi \U0001f600\U0001f600\U0001f600").text == "hi \U0001f600\U0001f600*"
    assert rules.check_in("WHY ARE YOU LIKE THIS").text == "why are you like this"
    assert rules.check_in("word " * 20).text == ("word " * 20)[:59].rstrip() + "\u2026"
    assert rules.check_in("he\u0301\u0302\u0303llo").text == "hello"
    wall = "PogChampion PogChampion x"
    emotes = (Emote(id="1", start=0, end=11), Emote(id="1", start=12, end=23))
    assert rules.check_in(wall, emotes=emotes).action == "allow"
    # The name of an emote is no shouting.
    assert (
        rules.check_in("KEKWKEKWKEKW ok", emotes=(Emote(id="2", start=0, end=12),)).action
        == "allow"
    )


def test_languages_are_told_by_their_script(tmp_path: Path) -> None:
    rules = with_rules(
        tmp_path, {"name": "lang", "kind": "language", "languages": ["en"], "incoming": "ignore"}
    )
    assert rules.check_in("hello there").action == "allow"
    assert (
        rules.check_in("\u043f\u0440\u0438\u0432\u0435\u0442").reason == "lang: written in cyrillic"
    )


def test_the_strongest_rule_decides_and_covers_add_up(tmp_path: Path) -> None:
    rules = with_rules(
        tmp_path,
        words("badword"),
        {"name": "links", "kind": "links", "incoming": "hold"},
        words("worst") | {"name": "worst", "incoming": "ignore"},
    )
    held = rules.check_in("badword at evil.com")
    assert (held.action, held.rule, held.text) == ("hold", "links", "******* at evil.com")
    stopped = rules.check_in("worst badword at evil.com")
    assert (stopped.action, stopped.text) == ("ignore", "")
    assert "badword" not in stopped.reason


def test_family_rules_work_only_with_the_switch_and_roles_may_be_exempt(tmp_path: Path) -> None:
    rule = words("badword", family=True)
    profile = Profile.model_validate({"name": "t", "rules": [rule], "exempt": ["moderator"]})
    rules = Moderator(tmp_path)
    rules.put(Compiled(profile))
    assert rules.check_in("badword").action == "allow"
    rules.put(Compiled(profile, is_family=True))
    assert rules.check_in("badword").action == "mask"
    assert rules.check_in("badword", viewer(role="moderator")).action == "allow"
    assert rules.check_in("badword", viewer(role="subscriber")).action == "mask"


def test_a_name_that_may_not_be_shown_is_not(tmp_path: Path) -> None:
    rules = with_rules(tmp_path, words("badword"))
    assert rules.shown_name(viewer("B4dword")) == NOT_SHOWN
    assert rules.shown_name(viewer("Tessa")) == "Tessa"


def test_trying_a_text_counts_nothing_and_says_where(tmp_path: Path) -> None:
    rules = with_rules(tmp_path, words("badword", "dark moon"))
    tried = rules.try_out("a b4dword", "in")
    assert [(f.hit.ranges, f.pieces) for f in tried.found] == [(((2, 9),), ("b4dword",))]
    assert tried.reads_as == "a b4dword"
    assert rules.try_out("It is dark", "out").held_tail == "dark"


# --- expressions ---


@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        ("ab+c", "xabbbcx", ["abbbc"]),
        ("(cat|dog)s?", "dogs", ["dog", "dogs"]),
        (r"\d{3}-\d{2}", "call 123-45 now", ["123-45"]),
        ("[^a-c]z", "azdz", ["dz"]),
        ("a.c", "a\u00fcc", ["a\u00fcc"]),
        (r"w\.w", "w.w wxw", ["w.w"]),
        ("x{2,3}", "xx", ["xx"]),
    ],
)
def test_expressions_find(source: str, text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in Pattern(source).find(text)] == found


@pytest.mark.parametrize(
    "source",
    [
        "",
        "(a",
        "a)",
        "[a",
        "*a",
        r"(a)\1",
        "(?=a)",
        "a{5,2}",
        "a{1000}",
        "a*",
        "^a",
        "(((a{9}){9}){9}){9}",
        "\\",
    ],
)
def test_an_expression_that_cannot_be_used_says_why(source: str) -> None:
    with pytest.raises(PatternError, match=r"\w+ \w+"):
        Pattern(source)


@given(st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_no_expression_does_anything_but_work_or_be_refused(source: str) -> None:
    try:
        pattern = Pattern(source)
    except PatternError:
        return
    pattern.find("aaaa bbb ccc 123 ((( [[[ ***")


# --- any text ---

HOSTILE = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="a4@!|(<+\\/ .b\u0301\u200b\u202e\U0001f600\ud83d0159", max_size=300),
    st.sampled_from(
        ["b", "b ", "badwor", "b.a.d.", "@", "!", "|", "\u0301", "9", "a@b.", "http://"]
    ).flatmap(lambda piece: st.integers(1, 400).map(lambda times: piece * times)),
)


@given(HOSTILE)
@settings(max_examples=60, deadline=None)
def test_no_text_makes_any_profile_fail(text: str) -> None:
    for compiled in ALL:
        for direction in ("in", "out"):
            hits = compiled.hits(text, direction)
            verdict = compiled.verdict(text, hits, "line")
            assert verdict.text or verdict.action == "ignore" or not text
            assert all(0 <= a < b <= len(text) for hit in hits for a, b in hit.ranges)
        compiled.open_from(text)


@given(HOSTILE)
@settings(max_examples=50, deadline=None)
def test_folding_keeps_the_place_of_every_character(text: str) -> None:
    folded = fold(text)
    assert len(folded.text) == len(folded.at)
    assert all(0 <= index < len(text) for index in folded.at)
    assert folded.at == sorted(folded.at)
    if folded.text:
        start, end = folded.span(0, len(folded.text))
        left = masked(text, [(start, end)])[start:]
        assert set(left) <= {"*", *(char for char in text if char.isspace())}


def test_a_million_characters_are_refused_unread(tmp_path: Path) -> None:
    rules = moderator(tmp_path)
    for text in ("a" * 10**6, "\u0301" * 10**6, "\U0001f600" * 10_000, "9" * 10**6):
        steps = counted(lambda text=text: rules.check_in(text, viewer()))  # type: ignore[misc]  # bound now
        assert steps < 50_000
        assert rules.check_in(text, viewer()).action == "ignore"


@pytest.mark.parametrize(
    "piece",
    [
        "hello you ",
        "b ",
        "badwor ",
        "bad word d d d d ",
        "@$!",
        "a@",
        "1 ",
        "x\u0301",
        "evil dot ",
        "/\\|",
        "ba",
        "de89 ",
    ],
)
def test_the_work_grows_with_the_length_alone(piece: str) -> None:
    compiled = Compiled(
        Profile.model_validate(
            {
                "name": "t",
                "rules": [
                    words("badword", "*babab*", "abab", "x", "dd"),
                    {"name": "l", "kind": "links"},
                    {"name": "p", "kind": "private"},
                    {"name": "r", "kind": "pattern", "patterns": ["(a|b)*c", "a.*b.*c"]},
                ],
            }
        )
    )
    short, long = (
        counted(lambda n=n: compiled.hits((piece * LONGEST_CHARS)[:n], "in"))  # type: ignore[misc]  # bound now
        for n in (LONGEST_CHARS // 4, LONGEST_CHARS)
    )
    assert long < 5.5 * short, (short, long)


def counted(work: Callable[[], object]) -> int:
    """Lines of Python that a piece of work runs: the same on every machine, at any load."""
    count = 0

    def trace(frame: object, event: str, argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]  # typeshed wants its own alias
    try:
        work()
    finally:
        sys.settrace(before)
    return count


# --- files ---


def test_every_shipped_profile_can_be_used(tmp_path: Path) -> None:
    names = [each.name for each in Profiles(tmp_path).list() if not each.problem]
    assert names == ["family", "off", "relaxed", "standard"]
    assert len([*SHIPPED.glob("*.yaml")]) == 4


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("rules:\n  - {name: a, kind: wrods}\n", 2, "wrods"),
        ("title: x\nrules:\n  - name: a\n    kind: caps\n    share: 7\n", 5, "share"),
        (
            "rules:\n  - name: a\n    kind: pattern\n    patterns:\n      - 'a('\n",
            4,
            "without its )",
        ),
        ("rules: [", 1, "no YAML"),
        ("- a\n", 1, "keys and values"),
        ("colour: red\n", 1, "colour"),
        ("rules:\n  - {name: a, kind: links}\n  - {name: a, kind: links}\n", 1, "two rules"),
    ],
)
def test_a_wrong_profile_says_the_line(text: str, line: int, says: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parsed(text, "mine", "mine.yaml")
    assert f"line {line}" in caught.value.message
    assert says in caught.value.message


async def test_a_profile_of_ones_own_is_kept_and_hides_the_shipped_one(tmp_path: Path) -> None:
    rules = Moderator(tmp_path / "own")
    mine = Profile.model_validate({"name": "standard", "rules": [words("badword")]})
    rules.files.save(mine)
    assert rules.files.load("standard") == mine
    await rules.use("standard")
    assert rules.check_in("badword").action == "mask"
    rules.files.delete("standard")
    assert rules.files.load("standard").title == "Standard"
    with pytest.raises(NotFoundError, match="There are: family"):
        rules.files.load("../../etc/passwd")


async def test_a_broken_profile_does_not_end_moderation(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("rules: 7\n")
    rules = Moderator(tmp_path)
    problem = await rules.use("mine")
    assert "mine.yaml line 1" in problem
    assert rules.profile.name == "standard"
    assert rules.check_in("kys").action == "ignore"


ALL = [
    *(Moderator(Path("nowhere")).compiled(name) for name in ("standard", "relaxed", "family")),
    Compiled(
        Profile.model_validate(
            {
                "name": "t",
                "rules": [
                    words("badword", "*a*", "b a d", outgoing="replace"),
                    {"name": "c", "kind": "caps", "incoming": "mask"},
                    {"name": "z", "kind": "zalgo", "incoming": "mask"},
                    {"name": "e", "kind": "emotes", "most": 3, "incoming": "mask"},
                    {"name": "g", "kind": "language", "scripts": ["latin"], "incoming": "mask"},
                    {"name": "r", "kind": "pattern", "patterns": ["[a-f]{2,}"], "incoming": "hold"},
                ],
            }
        )
    ),
]


def test_a_long_vowel_of_japanese_is_a_letter_of_its_word(tmp_path: Path) -> None:
    rules = with_rules(tmp_path, words("\u30af\u30bd\u30b2\u30fc"))
    assert rules.check_in("\u3053\u308c\u306f\u30af\u30bd\u30b2\u30fc\u3060").action == "mask"
    assert rules.check_in("\u3053\u308c\u306f\u30af\u30bd\u30b2\u30e0\u3060").action == "allow"
