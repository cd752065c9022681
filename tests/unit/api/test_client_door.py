"""Who a client is, and who is in a group with whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backend.api.client_door import MOST_CLIENTS, MOST_MEMBERS, Door, Identity, identify


@dataclass(eq=False)
class Guest:
    """A client that remembers what happened to it."""

    identity: Identity
    told: list[dict[str, object]] = field(default_factory=list)
    dismissed: list[int] = field(default_factory=list)

    def tell(self, message: dict[str, object]) -> None:
        self.told.append(message)

    def dismiss(self, code: int, reason: str) -> None:
        self.dismissed.append(code)


def guest(name: str, *, is_trusted: bool = True) -> Guest:
    return Guest(Identity(name, name, is_trusted))


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def enter(door: Door, *names: str, is_trusted: bool = True) -> list[Guest]:
    guests = [guest(name, is_trusted=is_trusted) for name in names]
    assert all(door.enter(each) for each in guests)
    return guests


def test_a_name_is_kept_and_owns_only_its_own() -> None:
    assert identify("unity-1", "", is_trusted=True) == Identity("unity-1", "unity-1", True)


@pytest.mark.parametrize("name", ["", "ends-in-", "with space", "x" * 101, "näme", "a/b", "-"])
def test_what_is_no_name_gets_a_new_one_each_time(name: str) -> None:
    one, two = identify(name, "", is_trusted=True), identify(name, "", is_trusted=True)
    assert one.uid != two.uid
    assert one.owner == two.owner == "client-"
    assert len(one.uid) <= 128


def test_clients_without_the_token_are_told_apart_by_where_they_come_from() -> None:
    one = identify("", "http://127.0.0.1:3000", is_trusted=False)
    again = identify("", "HTTP://127.0.0.1:3000", is_trusted=False)
    other = identify("", "file://", is_trusted=False)
    assert one.owner == again.owner != other.owner
    assert one.uid.startswith(one.owner)
    named = identify("x" * 100, "file://", is_trusted=False)
    assert named.uid.startswith(other.owner)
    assert named.owner == named.uid
    assert len(named.uid) <= 128


def test_there_is_room_for_so_many(door: Door) -> None:
    enter(door, *map(str, range(MOST_CLIENTS)))
    assert not door.enter(guest("one too many"))


def test_who_comes_again_takes_the_place_of_the_first_even_in_a_full_house(door: Door) -> None:
    guests = enter(door, *map(str, range(MOST_CLIENTS)))
    door.in_use["talk"] = guests[0]
    again = guest("0")
    assert door.enter(again)
    assert guests[0].dismissed == [4009]
    assert door.in_use == {}
    door.leave(guests[0])
    assert not door.enter(guest("one too many")), "the old connection's end frees no second place"


def test_a_group_has_an_owner_who_invites_and_removes(door: Door) -> None:
    owner, one, two = enter(door, "owner", "one", "two")
    assert door.invite(owner, "one")[0]
    assert door.standing(owner) == (["owner", "one"], True)
    assert door.standing(one) == (["owner", "one"], False)
    assert not door.invite(one, "two")[0], "only who began it invites"
    assert door.invite(owner, "two")[2] == [owner, one, two]
    assert not door.remove(one, "two")[0]
    assert door.remove(two, "two")[0], "everybody may leave"
    assert door.others(owner) == [one]


def test_a_group_ends_without_its_owner_and_with_one_left(door: Door) -> None:
    owner, one, two = enter(door, "owner", "one", "two")
    door.invite(owner, "one")
    door.invite(owner, "two")
    door.leave(owner)
    assert door.standing(one) == door.standing(two) == ([], False)
    door.invite(one, "two")
    changed = door.remove(one, "two")[2]
    assert set(changed) == {one, two}
    assert door.standing(one) == ([], False)


def test_who_is_in_a_group_is_in_no_second_one(door: Door) -> None:
    _, one, _, other = enter(door, "owner", "one", "two", "other")
    owner = other
    door.invite(owner, "one")
    assert not door.invite(enter(door, "late")[0], "one")[0]
    assert door.standing(one) == (["other", "one"], False)


def test_a_group_is_full_at_some_point(door: Door) -> None:
    owner, *others = enter(door, "owner", *map(str, range(MOST_MEMBERS)))
    assert [door.invite(owner, each.identity.uid)[0] for each in others].count(
        True
    ) == MOST_MEMBERS - 1


def test_without_the_token_nobody_with_it_is_invited_or_even_seen(door: Door) -> None:
    enter(door, "studio")
    (stranger,) = enter(door, "stranger", is_trusted=False)
    assert door.invite(stranger, "studio")[1] == door.invite(stranger, "nobody")[1].replace(
        "nobody", "studio"
    )


def test_only_those_without_the_token_are_shown_out(door: Door) -> None:
    (trusted,) = enter(door, "studio")
    (stranger,) = enter(door, "stranger", is_trusted=False)
    door.dismiss_untrusted()
    assert (trusted.dismissed, stranger.dismissed) == ([], [4001])
