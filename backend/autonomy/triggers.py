"""Triggers: which group they belong to, what they are in words, whether something viewers do sets them off, and those that ship.

What they are made of is in `backend.contracts.autonomy`; reading checks it and says in one line what is wrong where.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pydantic import ValidationError

from backend.contracts.audience import ViewerEvent
from backend.contracts.autonomy import (
    AtTime,
    ByViewer,
    Deed,
    Every,
    Feeling,
    Group,
    Keyword,
    Milestone,
    Rate,
    Silence,
    Topic,
    Trigger,
    TriggerRules,
    When,
)
from backend.contracts.errors import InvalidInputError

logger = logging.getLogger(__name__)

DID = {
    "follow": "follow",
    "subscribe": "subscription",
    "gift": "gifted subscription",
    "raid": "raid",
    "cheer": "cheer",
    "redeem": "channel points reward",
}
COUNTED = {
    "messages": "messages",
    "chatters": "people who wrote",
    "follows": "new followers",
    "followers": "followers",
    "subscriptions": "new subscriptions",
    "bits": "bits",
}
UNITS = {"raid": "viewers", "cheer": "bits", "gift": "gifts", "subscribe": "months"}


def checked(given: object) -> TriggerRules:
    """Rules out of plain values.

    Raises:
        InvalidInputError: They cannot be used; says where and why.
    """
    try:
        return TriggerRules.model_validate(given)
    except ValidationError as error:
        raise InvalidInputError(_in_words(error, given)) from None


def group_of(when: When) -> Group:
    """As AUTONOMOUS_TRIGGERS names it."""
    if isinstance(when, Silence):
        return "idle"
    if isinstance(when, Every | AtTime):
        return "time"
    return "viewers" if isinstance(when, ByViewer | Milestone) else "chat"


def when_in_words(when: When) -> str:
    """What sets it off, for people."""
    match when:
        case Every():
            return f"every {duration(when.minutes * 60)}"
        case AtTime():
            days = f" ({', '.join(when.days)})" if when.days else ""
            return f"at {', '.join(when.times)}{days}"
        case Silence():
            return f"after {duration(when.seconds)} of silence"
        case ByViewer():
            least = f" of at least {when.at_least:,} {UNITS.get(when.does, '')}".rstrip()
            reward = f" “{when.reward}”" if when.reward else ""
            return f"on a {DID[when.does]}{reward}" + (least if when.at_least else "")
        case Milestone():
            numbers = [f"{number:,}" for number in when.at]
            numbers += [f"every {when.every:,}"] if when.every else []
            return f"at {', '.join(numbers)} {COUNTED[when.of]}"
        case Keyword():
            return f"when somebody writes {_listed(when.words)}"
        case Topic():
            return f"when {when.mentions} messages in {duration(when.within_s)} are about {_listed(when.words)}"
        case Rate():
            way = "more" if when.crossing == "above" else "less"
            return f"when {way} than {when.per_minute:g} messages a minute come"
        case Feeling():
            return f"when the chat is {when.mood}"


def is_set_off(when: When, event: ViewerEvent) -> bool:
    """Whether something a viewer did sets it off."""
    if not isinstance(when, ByViewer) or when.does != event.kind or event.amount < when.at_least:
        return False
    return not when.reward or when.reward.casefold() in event.text.casefold()


def reached(when: Milestone, before: int, after: int) -> int | None:
    """The highest number of a milestone that a count has passed; None when none."""
    passed = [number for number in when.at if before < number <= after]
    if when.every and after // when.every > before // when.every:
        passed.append(after // when.every * when.every)
    return max(passed, default=None)


def duration(seconds: float) -> str:
    """A time for people ("90 s", "5 min", "2 h")."""
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def rules_from(stored: str | None) -> TriggerRules:
    """What was stored; the rules that ship where nothing was, or nothing that can be read."""
    if stored is None:
        return SHIPPED
    try:
        return TriggerRules.model_validate_json(stored)
    except ValidationError as error:
        logger.error(
            "the stored triggers cannot be used, those that ship are: %s", _in_words(error, {})
        )
        return SHIPPED


def _listed(words: tuple[str, ...]) -> str:
    shown = ", ".join(f"“{word}”" for word in words[:4])
    return shown + (f" or {len(words) - 4} more" if len(words) > 4 else "")


def _in_words(error: ValidationError, given: object) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    place = _place(first["loc"], given)
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}{first['msg'].removeprefix('Value error, ')}{more}"


def _place(loc: tuple[int | str, ...], given: object) -> str:
    """Where something is wrong: the trigger by its id, the field by its name."""
    parts = list(loc)
    start = ""
    if len(parts) > 1 and parts[0] == "triggers" and isinstance(parts[1], int):
        named = given.get("triggers") if isinstance(given, Mapping) else None
        trigger = named[parts[1]] if isinstance(named, list | tuple) else None
        name = trigger.get("id") if isinstance(trigger, Mapping) else None
        number = f"trigger {parts[1] + 1}"
        start = f"trigger {name[:48]!r}" if isinstance(name, str) and name else number
        parts = parts[2:]
    field = ".".join(str(part) for part in parts)
    return ": ".join(part for part in (start, field) if part) + (": " if start or field else "")


SHIPPED = TriggerRules(
    triggers=(
        Trigger(
            id="raid",
            title="Raid welcome",
            when=ByViewer(does="raid"),
            do=Deed(
                texts=(
                    "Oh! {viewer} is here with {amount} people! Welcome, all of you, make yourselves at home!",
                    "A raid! Hello {viewer}, hello {amount} new faces! It is so good that you are here.",
                    "Everybody, look who it is: {viewer}, and {amount} friends! Welcome in!",
                ),
                prompt="{viewer} raids the stream with {amount} viewers. Welcome them all warmly, in one or two sentences.",
                expression="surprised",
                motion="wave",
            ),
            cooldown_s=20,
            priority=95,
            stale_s=180,
        ),
        Trigger(
            id="gift",
            title="Thanks for gifts",
            when=ByViewer(does="gift"),
            do=Deed(
                texts=(
                    "{viewer}, you gave away {amount}! That is so generous, thank you!",
                    "Presents from {viewer}! Thank you from all of us!",
                ),
                expression="joy",
            ),
            cooldown_s=20,
            priority=85,
        ),
        Trigger(
            id="subscribe",
            title="Thanks for subscriptions",
            when=ByViewer(does="subscribe"),
            do=Deed(
                texts=(
                    "Thank you for the subscription, {viewers}! You make this possible.",
                    "{viewers}, you subscribed! I am a little touched, honestly.",
                    "A subscription from {viewers}. Thank you so much!",
                ),
                expression="joy",
            ),
            cooldown_s=20,
            priority=80,
        ),
        Trigger(
            id="cheer",
            title="Thanks for cheers",
            when=ByViewer(does="cheer", at_least=100),
            do=Deed(
                texts=(
                    "{amount} bits from {viewer}! Thank you!",
                    "{viewer} cheers with {amount} bits. You are the best!",
                ),
                expression="joy",
            ),
            cooldown_s=30,
            priority=75,
        ),
        Trigger(
            id="follow",
            title="Hello to followers",
            when=ByViewer(does="follow"),
            do=Deed(
                texts=(
                    "Welcome, {viewers}, and thank you for the follow!",
                    "Hello {viewers}! Nice that you stay.",
                    "{viewers}, thank you for following. Take a seat!",
                ),
            ),
            cooldown_s=60,
            priority=60,
        ),
        Trigger(
            id="hundred",
            title="Every 100 messages",
            when=Milestone(of="messages", every=100),
            do=Deed(
                texts=(
                    "That was message number {count}! You have a lot to say today.",
                    "{count} messages already. I read as fast as I can!",
                ),
            ),
            cooldown_s=600,
            probability=0.7,
            priority=40,
        ),
        Trigger(
            id="busy-chat",
            title="The chat gets fast",
            when=Rate(per_minute=60),
            do=Deed(
                texts=(
                    "The chat is flying today! I love it.",
                    "Slow down, my eyes are only so quick!",
                ),
                prompt="The chat has suddenly become very fast. React to the mood in it, in one sentence.",
                expression="surprised",
            ),
            cooldown_s=900,
            probability=0.8,
            priority=35,
        ),
        Trigger(
            id="silence",
            title="Silence breaker",
            when=Silence(seconds=180),
            do=Deed(
                texts=(
                    "It is so quiet that I can hear my own thoughts. They say hello.",
                    "So, what is everybody up to? Tell me one good thing from your day.",
                    "I was just wondering: if you could have one small superpower, which one?",
                    "Quiet in here. I do not mind, but a question would be nice.",
                    "Has anybody had something good to eat today? I live through your stories.",
                    "Time for a tiny poll: morning person, or night owl?",
                ),
                prompt="Nobody has said anything for a while. Say one short thing of your own: a thought, or a question to"
                " the viewers. Do not complain about the silence.",
            ),
            cooldown_s=240,
            probability=0.8,
            priority=20,
        ),
        Trigger(
            id="water",
            title="Drink water",
            when=Every(minutes=45, jitter=0.2),
            do=Deed(
                texts=(
                    "A small reminder from me: drink some water!",
                    "Stretch your back, take a sip of water, carry on.",
                    "Posture check! And a sip of water, please.",
                ),
            ),
            cooldown_s=1200,
            priority=10,
        ),
    ),
    quiet=(),
)
"""Rules for the first start: kind to viewers, sparing with words."""
