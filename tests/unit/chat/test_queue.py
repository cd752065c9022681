"""Who of the viewers is answered next: the pure queue, told the time."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backend.chat.alike import names_one_of
from backend.chat.queue import ALONE, GONE_KEPT, LONGEST_ANSWER_S, ChatQueue, Fate, Removal
from backend.contracts.audience import FINAL, AudienceMessage, Emote, QueueRules, Verdict, Viewer

AT = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = count()


def message(text: str = "hello there", who: str = "ann", **more: object) -> AudienceMessage:
    viewer = {name: more.pop(name) for name in ("role", "is_first") if name in more}
    values: dict[str, object] = {
        "id": f"m{next(_numbers)}",
        "platform": "twitch",
        "viewer": Viewer(platform="twitch", id=who, name=who, **viewer),
        "text": text,
        "at": AT,
        **more,
    }
    return AudienceMessage(**values)


def put(queue: ChatQueue, said: AudienceMessage, now_s: float = 0.0) -> list[Fate]:
    """As the desk does it."""
    assert queue.is_new(said.id)
    early = queue.admit(said, now_s)
    return [early] if early is not None else queue.offer(said, now_s)


def fate_of(fates: list[Fate] | tuple[Fate, ...], said: AudienceMessage) -> str:
    return [fate.disposition for fate in fates if fate.message_id == said.id][-1]


def wide(text: str) -> str:
    """The same in full-width letters."""
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


def order(queue: ChatQueue, now_s: float = 1.0) -> list[str]:
    """Who is answered, one after the other."""
    found: list[str] = []
    while (taken := queue.take(now_s)) is not None:
        found.append(taken.message.id)
        queue.end("answered", now_s)
    return found


# --- the order ---


@pytest.mark.parametrize(
    "more",
    [
        {"mentions_us": True},
        {"replies_to_us": True},
        {"bits": 100},
        {"reward": "Hydrate"},
        {"role": "moderator"},
        {"role": "vip"},
        {"role": "subscriber"},
        {"role": "broadcaster"},
        {"is_first": True},
        {"text": "how tall are you?"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_lifts_a_message_goes_before_an_older_plain_one(more: dict[str, object]) -> None:
    queue = ChatQueue()
    plain, lifted = message("nice weather", "bob"), message(**more)  # type: ignore[arg-type]
    put(queue, plain, 0)
    put(queue, lifted, 1)
    assert order(queue) == [lifted.id, plain.id]


def test_a_larger_cheer_goes_first() -> None:
    queue = ChatQueue()
    small, large = message("one", "bob", bits=100), message("two", "ann", bits=500)
    put(queue, small)
    put(queue, large)
    assert order(queue) == [large.id, small.id]
    assert "cheer of 500 bits" in ChatQueue().offer(message("x y", bits=500), 0)[0].reason


def test_of_equals_the_older_goes_first() -> None:
    queue = ChatQueue()
    said = [message(f"word{i}", f"v{i}") for i in range(4)]
    for i, one in enumerate(said):
        put(queue, one, i)
    assert order(queue, 5) == [one.id for one in said]


def test_whoever_was_just_answered_waits_for_the_others() -> None:
    queue = ChatQueue()
    put(queue, message("first thing", "ann"))
    assert queue.take(0) is not None
    queue.end("answered", 1)
    again, other = message("second thing", "ann"), message("something else", "bob")
    put(queue, again, 2)
    put(queue, other, 3)
    assert order(queue, 4)[0] == other.id


def test_an_answer_to_a_viewer_is_forgotten_with_time() -> None:
    queue = ChatQueue(QueueRules(forget_s=10))
    put(queue, message("first thing", "ann"))
    queue.take(0)
    queue.end("answered", 0)
    put(queue, message("second thing", "ann"), 200)
    assert not any("not long ago" in why for why in queue.state(200).waiting[0].reasons)


def test_the_streamer_may_put_one_first() -> None:
    queue = ChatQueue()
    plain, cheer = message("plain words", "bob"), message("rich words", bits=10_000)
    put(queue, plain)
    put(queue, cheer)
    assert queue.put_first(plain.id, 1) is not None
    assert queue.state(1).waiting[0].reasons[0] == "the streamer wants it next"
    assert order(queue) == [plain.id, cheer.id]


def test_the_reasons_say_in_words_what_made_the_score() -> None:
    queue = ChatQueue()
    put(queue, message("how are you?", bits=500, mentions_us=True, role="subscriber"))
    shown = queue.state(10).waiting[0]
    assert shown.reasons == (
        "mentions her +30",
        "asks +20",
        "cheer of 500 bits +75",
        "subscribes +10",
        "waits 10 s +5",
    )
    assert shown.score == 140
    assert shown.waited_s == 10


# --- who is not answered ---


def test_only_addressed_messages_are_answered_when_the_rules_say_so() -> None:
    queue = ChatQueue(QueueRules(answers="addressed", questions=False))
    plain, asked, named = message("so nice"), message("why?"), message("hey", mentions_us=True)
    assert fate_of(put(queue, plain), plain) == "not-addressed"
    assert fate_of(put(queue, asked), asked) == "not-addressed"
    assert fate_of(put(queue, named), named) == "queued"


def test_nobody_is_answered_when_it_is_off() -> None:
    queue = ChatQueue(QueueRules(is_on=False))
    said = message(bits=100)
    assert put(queue, said)[0].rule == "is_on"


def test_emotes_alone_need_no_answer() -> None:
    queue = ChatQueue()
    said = message(
        "Kappa Kappa", emotes=(Emote(id="1", start=0, end=5), Emote(id="1", start=6, end=11))
    )
    assert fate_of(put(queue, said), said) == "not-addressed"
    assert fate_of(put(queue, smile := message("😂😂 !!!")), smile) == "not-addressed"
    paid = message("😂", bits=1)
    assert fate_of(put(queue, paid), paid) == "queued"


def test_an_id_counts_once_however_often_it_comes() -> None:
    queue = ChatQueue()
    said = message()
    assert queue.is_new(said.id)
    assert not queue.is_new(said.id)


def test_a_viewer_who_writes_too_much_is_slowed_down_and_told_why() -> None:
    queue = ChatQueue(QueueRules(per_viewer=2, per_viewer_s=10, most_per_viewer=100))
    said = [message(f"thing{i}") for i in range(4)]
    fates = [put(queue, one, i) for i, one in enumerate(said[:3])]
    assert [fate[-1].disposition for fate in fates] == ["queued", "queued", "rate-limited"]
    assert "within 10 s" in fates[2][0].reason
    assert fate_of(put(queue, said[3], 11), said[3]) == "queued"


@pytest.mark.parametrize("more", [{"bits": 1}, {"role": "moderator"}, {"role": "broadcaster"}])
def test_whoever_pays_or_moderates_is_never_too_quick(more: dict[str, object]) -> None:
    queue = ChatQueue(QueueRules(per_viewer=1, most_per_viewer=100))
    fates = [put(queue, message(f"thing{i}", **more))[-1] for i in range(5)]  # type: ignore[arg-type]
    assert {fate.disposition for fate in fates} == {"queued"}


def test_of_a_viewers_messages_the_worst_goes_when_too_many_wait() -> None:
    queue = ChatQueue(QueueRules(most_per_viewer=1))
    plain, better = message("something dull"), message("what is your name?")
    put(queue, plain)
    fates = put(queue, better)
    assert fate_of(fates, plain) == "rate-limited"
    assert fate_of(fates, better) == "queued"


def test_a_full_queue_drops_the_worst_and_not_the_newest() -> None:
    queue = ChatQueue(QueueRules(most_waiting=2))
    plain, asks, cheer = message("dull", "a"), message("why not?", "b"), message("x y", "c", bits=5)
    put(queue, plain)
    put(queue, asks)
    fates = put(queue, cheer)
    assert fate_of(fates, plain) == "queue-full"
    dull = message("dull too", "d")
    assert fate_of(put(queue, dull), dull) == "queue-full"
    assert len(queue) == 2


# --- the same from several ---


def test_the_same_question_of_several_is_answered_once() -> None:
    queue = ChatQueue()
    first = message("What is your favourite colour?", "ann")
    same = [
        message("what is your favourite colour", "bob"),
        message("WHAT IS YOUR FAVOURITE COLOUR???", "cia"),
        message(wide("what is your favourite colour"), "dan"),
    ]
    put(queue, first)
    for one in same:
        (fate,) = put(queue, one, 1)
        assert (fate.disposition, fate.into) == ("merged", first.id)
    taken = queue.take(2)
    assert taken is not None
    assert taken.others == 3


def test_it_is_joined_with_one_that_is_being_answered_too() -> None:
    queue = ChatQueue()
    put(queue, message("what is your name?", "ann"))
    queue.take(0)
    late = message("what is your name", "bob")
    assert fate_of(put(queue, late, 1), late) == "merged"
    queue.end("answered", 2)
    later = message("what is your name", "cia")
    assert fate_of(put(queue, later, 3), later) == "queued"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("what is two plus 2", "what is two plus 3"),
        ("vote 1", "vote 2"),
        ("vote1", "vote2"),
        (
            "please do play the song called track4 once more for all of us",
            "please do play the song called track5 once more for all of us",
        ),
        ("will it be 2:1", "will it be 1:2"),
        ("is it 1.5", "is it 5.1"),
        ("what is 10-2", "what is 2-10"),
        ("is -5 cold", "is 5 cold"),
        (wide("vote 1"), "vote 2"),
        ("第3話はいつですか", "第4話はいつですか"),
        (
            "a b c d e f g h i j k l m n o p q r s t u v w x y z aa bb cc dd ee ff gg hh ii jj kk ll mm nn oo 1",
            "a b c d e f g h i j k l m n o p q r s t u v w x y z aa bb cc dd ee ff gg hh ii jj kk ll mm nn oo 2",
        ),
        ("do you like cats", "do you like dogs"),
        ("hi", "bye"),
        ("何歳ですか", "どこに住んでいますか"),
    ],
)
def test_what_differs_in_what_matters_is_not_joined(one: str, other: str) -> None:
    queue = ChatQueue()
    put(queue, message(one, "ann"))
    said = message(other, "bob")
    assert fate_of(put(queue, said), said) == "queued"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("vote 1", "VOTE 1!!"),
        ("vote 1", wide("vote 1")),
        ("top 10?", "top 10"),
        ("what is 2 + 2", "what is 2 + 2 ?"),
    ],
)
def test_the_same_numbers_are_the_same(one: str, other: str) -> None:
    queue = ChatQueue()
    put(queue, message(one, "ann"))
    said = message(other, "bob")
    assert fate_of(put(queue, said), said) == "merged"


def test_a_name_with_a_number_is_known_beside_others() -> None:
    assert names_one_of("Luma2, are you 5?", ["Luma2"])
    assert not names_one_of("Luma3, are you 5?", ["Luma2"])


def test_nobody_is_joined_with_himself() -> None:
    queue = ChatQueue()
    put(queue, message("what is your name", "ann"))
    again = message("what is your name?", "ann")
    fate = put(queue, again)[0]
    assert (fate.disposition, fate.rule) == ("rate-limited", "merges")


def test_a_cheer_keeps_its_own_answer() -> None:
    queue = ChatQueue()
    put(queue, message("what is your name", "ann"))
    paid = message("what is your name", "bob", bits=100)
    assert fate_of(put(queue, paid), paid) == "queued"


def test_what_many_ask_rises() -> None:
    queue = ChatQueue()
    lonely, common = message("tell a joke", "ann"), message("sing a song", "bob")
    put(queue, lonely, 0)
    put(queue, common, 1)
    put(queue, message("sing a song!", "cia"), 1)
    assert order(queue, 2)[0] == common.id


# --- time ---


def test_what_waits_too_long_is_too_old() -> None:
    queue = ChatQueue(QueueRules(max_wait_s=20))
    old, young = message("old words", "ann"), message("young words", "bob")
    put(queue, old, 0)
    put(queue, young, 15)
    assert queue.tick(20) == []
    (fate,) = queue.tick(21)
    assert (fate.message_id, fate.disposition) == (old.id, "too-old")
    assert "21 s" in fate.reason


def test_what_waits_alone_may_wait_longer() -> None:
    queue = ChatQueue(QueueRules(max_wait_s=20))
    put(queue, message(), 0)
    assert queue.tick(20 * ALONE) == []
    assert len(queue.tick(20 * ALONE + 1)) == 1


def test_a_cheer_waits_for_as_many_answers_however_long_they_take() -> None:
    queue = ChatQueue(QueueRules(max_wait_s=20, max_wait_paid_answers=9))
    for n in range(30):
        put(queue, message(f"thought {n}", f"v{n}"), 20 * n)
        queue.take(20 * n)
        queue.end("answered", 20 * n + 2)
    put(queue, message("paid words", "ann", bits=1), 1000)
    put(queue, message("more paid words", "bob", bits=1), 1000)
    assert queue.tick(1020) == []
    assert len(queue.tick(1021)) == 1


def test_a_cheer_waits_longer() -> None:
    queue = ChatQueue(QueueRules(max_wait_s=20, max_wait_paid_answers=9))
    paid = message("paid words", "ann", bits=1)
    put(queue, paid, 0)
    put(queue, message("free words", "bob"), 0)
    assert [fate.message_id for fate in queue.tick(50)] != [paid.id]
    assert queue.take(50) is not None


def test_nobody_grows_older_while_everything_is_stopped() -> None:
    queue = ChatQueue(QueueRules(max_wait_s=20))
    put(queue, message("one thing", "ann"), 0)
    put(queue, message("other thing", "bob"), 0)
    queue.stop(10)
    assert queue.take(100) is None
    assert queue.tick(500) == []
    put(queue, message("third thing", "cia"), 300)
    assert queue.state(400).waiting[0].waited_s == 10
    queue.go_on(1000)
    assert queue.tick(1010) == []
    taken = queue.take(1010)
    assert taken is not None
    assert taken.waited_s == 20


# --- people decide ---


def test_a_held_message_waits_for_the_streamer() -> None:
    queue = ChatQueue()
    said = message()
    verdict = Verdict(action="hold", rule="links", reason="has a link")
    (fate,) = queue.offer(said, 0, verdict=verdict)
    assert (fate.disposition, fate.rule, fate.reason) == ("held", "links", "has a link")
    assert queue.take(0) is None
    approved = queue.approve(said.id, 5)
    assert approved is not None
    assert fate_of(approved, said) == "queued"
    assert order(queue) == [said.id]
    assert queue.approve(said.id, 5) is None


def test_what_nobody_approves_is_too_old_in_the_end() -> None:
    queue = ChatQueue(QueueRules(max_held_s=60, most_held=1))
    first, second = message(), message()
    queue.offer(first, 0, verdict=Verdict(action="hold"))
    fates = queue.offer(second, 0, verdict=Verdict(action="hold"))
    assert fate_of(fates, first) == "queue-full"
    assert fate_of(queue.tick(61), second) == "too-old"


def test_a_deleted_message_goes_with_those_joined_with_it() -> None:
    queue = ChatQueue()
    host, same = message("what is your name", "ann"), message("what is your name", "bob")
    put(queue, host)
    put(queue, same)
    removal = queue.delete(host.id)
    assert not removal.is_answering
    assert {fate.message_id for fate in removal.fates} == {host.id, same.id}
    assert queue.take(1) is None


def test_deleting_what_is_being_answered_says_to_cut_it() -> None:
    queue = ChatQueue()
    said = message()
    put(queue, said)
    queue.take(0)
    removal = queue.delete(said.id)
    assert removal.is_answering
    assert fate_of(removal.fates, said) == "deleted"
    assert queue.end("answered", 1) == []
    assert queue.delete(said.id) == Removal()


def test_all_of_a_viewer_goes_and_nothing_of_the_others() -> None:
    queue = ChatQueue()
    theirs = [message(f"thing{i}", "bad") for i in range(2)]
    host, joined = message("what is your name", "ann"), message("what is your name", "bad")
    for one in (*theirs, host, joined):
        put(queue, one)
    removal = queue.delete_viewer("twitch", "bad", 2)
    assert {fate.message_id for fate in removal.fates} == {*(one.id for one in theirs), joined.id}
    assert order(queue) == [host.id]


def test_a_deletion_may_come_before_its_message() -> None:
    queue = ChatQueue()
    said = message()
    queue.delete(said.id)
    assert fate_of(put(queue, said), said) == "deleted"


def test_what_is_still_on_its_way_when_its_author_is_sent_away_goes_too() -> None:
    queue = ChatQueue()
    queue.delete_viewer("twitch", "bad", 10)
    late, others = message("thing", "bad"), message("thing", "ann")
    assert fate_of(put(queue, late, 10.9), late) == "deleted"
    assert fate_of(put(queue, others, 10.9), others) == "queued"
    after_the_timeout = message("another", "bad")
    assert fate_of(put(queue, after_the_timeout, 11.1), after_the_timeout) == "queued"


def test_what_is_known_of_viewers_sent_away_is_bounded() -> None:
    queue = ChatQueue()
    for i in range(GONE_KEPT + 10):
        queue.delete_viewer("twitch", f"v{i}", 0)
    assert len(queue._sent_away) == GONE_KEPT


def test_a_failed_turn_is_tried_once_more() -> None:
    queue = ChatQueue()
    said = message()
    put(queue, said)
    queue.take(0)
    assert fate_of(queue.end("failed", 1, reason="no engine"), said) == "queued"
    queue.take(2)
    (fate,) = queue.end("failed", 3, reason="no engine")
    assert (fate.disposition, fate.reason) == ("failed", "no engine")


def test_stricter_rules_hold_at_once() -> None:
    queue = ChatQueue()
    for i in range(5):
        put(queue, message(f"thing{i}", f"v{i}"))
    assert len(queue.use(QueueRules(most_waiting=2), 1)) == 3
    assert len(queue) == 2


# --- many ---


def jain(counts: list[int]) -> float:
    """1 = all got the same."""
    square = sum(one * one for one in counts)
    return sum(counts) ** 2 / (len(counts) * square) if square else 0.0


def test_whoever_writes_twenty_times_as_much_is_not_answered_more() -> None:
    queue = ChatQueue()
    answered: Counter[str] = Counter()
    who_wrote: dict[str, str] = {}
    viewers = [f"v{i}" for i in range(30)]
    busy_until_s, current = 0.0, ""
    for step in range(24_000):  # 600 s, 40 a second
        now_s = step / 40
        who = viewers[step % 3] if step % 2 else viewers[(step // 2) % 30]
        said = message(f"thought {step} of mine", who)
        who_wrote[said.id] = who
        put(queue, said, now_s)
        if step % 10 == 0:
            queue.tick(now_s)
        if now_s >= busy_until_s:
            if current:
                answered[who_wrote[current]] += 1
                queue.end("answered", now_s)
            taken = queue.take(now_s)
            current = taken.message.id if taken is not None else ""
            busy_until_s = now_s + 2
    assert jain([answered[who] for who in viewers]) >= 0.95


class QueueMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order: bounded, one end for everybody, the best first, nobody for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.by = QueueRules(
            most_waiting=4, most_held=2, most_per_viewer=2, per_viewer=5, per_viewer_s=10, max_wait_s=6,
            max_wait_paid_answers=2, max_held_s=20,
        )  # fmt: skip
        self.queue = ChatQueue(self.by)
        self.now_s = 0.0
        self.running_s = 0.0
        self.number = 0
        self.came_s: dict[str, float] = {}
        self.ends: dict[str, list[str]] = {}
        self.last: dict[str, str] = {}

    def settle(self, fates: list[Fate] | tuple[Fate, ...]) -> None:
        for fate in fates:
            self.last[fate.message_id] = fate.disposition
            if fate.disposition in FINAL:
                self.ends.setdefault(fate.message_id, []).append(fate.disposition)

    @rule(
        text=st.sampled_from(
            ["what is your name", "why is that?", "hello", "sing us a song", "1 2 3"]
        ),
        who=st.sampled_from("abcdef"),
        bits=st.sampled_from([0, 0, 0, 100]),
        mentions=st.booleans(),
        holds=st.sampled_from([False, False, False, True]),
    )
    def write(self, text: str, who: str, bits: int, mentions: bool, holds: bool) -> None:
        self.number += 1
        said = message(text, who, bits=bits, mentions_us=mentions, id=f"n{self.number}")
        assert self.queue.is_new(said.id)
        self.came_s[said.id] = self.running_s
        early = self.queue.admit(said, self.now_s)
        verdict = Verdict(action="hold" if holds else "allow")
        fates = [early] if early else self.queue.offer(said, self.now_s, verdict=verdict)
        assert fates[-1].message_id == said.id or any(f.message_id == said.id for f in fates)
        self.settle(fates)

    @rule(seconds=st.floats(0.1, 8))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        if not self.queue.is_stopped:
            self.running_s += seconds
        self.settle(self.queue.tick(self.now_s))

    @precondition(lambda self: not self.queue.is_answering and not self.queue.is_stopped)
    @rule()
    def take(self) -> None:
        waiting = self.queue.state(self.now_s).waiting
        taken = self.queue.take(self.now_s)
        assert (taken is None) == (not waiting)
        if taken is not None:
            assert taken.message.id == waiting[0].message.id
            firsts = [one for one in waiting if "the streamer wants it next" in one.reasons]
            if not firsts:
                assert waiting[0].score >= max(one.score for one in waiting) - 0.11
            self.last[taken.message.id] = "answering"

    @rule(how=st.sampled_from(["answered", "failed", "skipped"]))
    def end(self, how: str) -> None:
        self.settle(self.queue.end(how, self.now_s))  # type: ignore[arg-type]

    @precondition(lambda self: self.number)
    @rule(data=st.data(), what=st.sampled_from(["delete", "skip", "approve", "first"]))
    def decide(self, data: st.DataObject, what: str) -> None:
        one = f"n{data.draw(st.integers(1, self.number))}"
        if what == "delete":
            self.settle(self.queue.delete(one).fates)
        elif what == "skip":
            removal = self.queue.skip(one)
            self.settle(removal.fates if removal is not None else ())
        elif what == "approve":
            self.settle(self.queue.approve(one, self.now_s) or ())
        else:
            self.settle(self.queue.put_first(one, self.now_s) or ())

    @rule(who=st.sampled_from("abcdef"))
    def send_away(self, who: str) -> None:
        self.settle(self.queue.delete_viewer("twitch", who, self.now_s).fates)

    @rule(stops=st.booleans())
    def panic(self, stops: bool) -> None:
        if stops:
            self.queue.stop(self.now_s)
        else:
            self.queue.go_on(self.now_s)

    @invariant()
    def it_is_bounded(self) -> None:
        state = self.queue.state(self.now_s)
        assert len(state.waiting) <= self.by.most_waiting
        assert len(state.held) <= self.by.most_held
        assert len(self.queue._by_word) <= 8 * (self.by.most_waiting + 1)

    @invariant()
    def everybody_has_one_end_at_most(self) -> None:
        for ends in self.ends.values():
            assert len(ends) == 1 or ends == ["merged", "deleted"], ends

    @invariant()
    def whoever_has_no_end_is_in_the_queue(self) -> None:
        state = self.queue.state(self.now_s)
        there = {one.message.id for one in (*state.waiting, *state.held)}
        if state.answering is not None:
            there.add(state.answering.message.id)
        assert {one for one in self.came_s if one not in self.ends} == there

    def teardown(self) -> None:
        self.queue.go_on(self.now_s)
        self.settle(self.queue.end("answered", self.now_s))
        # Nobody starves: after the longest wait there is, nobody is left.
        self.now_s += ALONE * 2 * LONGEST_ANSWER_S + self.by.max_held_s + 1
        self.settle(self.queue.tick(self.now_s))
        assert set(self.ends) == set(self.came_s)
        assert not self.queue.has_any
        assert not self.queue._by_word
        assert not self.queue._merged_into


TestWhateverHappens = QueueMachine.TestCase
TestWhateverHappens.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
