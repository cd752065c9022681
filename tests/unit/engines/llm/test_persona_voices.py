"""The voices are complete and their lines are well formed."""

from __future__ import annotations

import re

import pytest

from backend.chat.builtin import CAST, EXPRESSIONS
from backend.engines.llm.persona.grammar import (
    Choice,
    Line,
    Piece,
    Rule,
    compile_line,
    load_voice,
    voice_names,
)

OWN = [each.persona_style for each in CAST]


def test_every_built_in_character_has_its_own_voice() -> None:
    assert len(set(OWN)) == len(CAST)
    assert {*OWN, "plain"} == set(voice_names())


@pytest.mark.parametrize("name", OWN)
def test_a_voice_can_say_everything_the_plain_one_can(name: str) -> None:
    missing = set(load_voice("plain").rules) - set(load_voice(name).rules)
    assert not missing


@pytest.mark.parametrize("name", [*OWN, "plain"])
def test_lines_show_known_feelings_and_lead_to_known_rules(name: str) -> None:
    voice = load_voice(name)
    for rule, lines in voice.rules.items():
        assert lines, rule
        for line in lines:
            for tag in re.findall(r"\[(\w+)\]", line.source):
                assert tag in EXPRESSIONS, line.source
            assert _rules(line.pieces) <= set(voice.rules), line.source


@pytest.mark.parametrize("name", [*OWN, "plain"])
def test_every_rule_has_a_line_that_needs_no_name(name: str) -> None:
    for rule, lines in load_voice(name).rules.items():
        assert any("name" not in line.needs for line in lines), rule


@pytest.mark.parametrize("name", [*OWN, "plain"])
def test_no_line_is_written_twice(name: str) -> None:
    for rule, lines in load_voice(name).rules.items():
        sources = [line.source for line in lines]
        assert len(sources) == len(set(sources)), rule


@pytest.mark.parametrize("broken", ["a (b|c", "a | b", "a) b"])
def test_a_line_with_an_open_bracket_is_refused(broken: str) -> None:
    with pytest.raises(ValueError, match="bracket"):
        compile_line(broken)


def test_what_a_line_needs_is_known() -> None:
    line: Line = compile_line("Hi (<name>|you), (<a> <b>|<b>), {rule} <value>")
    assert line.needs == {"b", "value"}


def _rules(pieces: tuple[Piece, ...]) -> set[str]:
    found: set[str] = set()
    for piece in pieces:
        if isinstance(piece, Rule):
            found.add(piece.name)
        elif isinstance(piece, Choice):
            for option in piece.options:
                found |= _rules(option)
    return found
