"""What is put into a table comes out as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from backend.contracts.entities import (
    Character,
    Conversation,
    ModelRecord,
    Personality,
    Span,
    SpokenSentence,
    Turn,
    VoiceChoice,
)
from backend.contracts.errors import NotFoundError
from backend.storage import characters, conversations, models, modules, training_data, turns
from backend.storage.database import Database
from backend.storage.retention import prune_turns
from backend.storage.training_data import ClipRow

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def a_turn(n: int, conversation_id: str = "stage", **changes: object) -> Turn:
    fields: dict[str, object] = {
        "id": f"{conversation_id}-{n:03d}",
        "conversation_id": conversation_id,
        "character_id": "luma",
        "number": n,
        "author": "you",
        "source": "window",
        "message": f"message {n}",
        "reply": f"reply {n}",
        "emotion": "joy",
        "outcome": "done",
        "first_audio_ms": 12.5,
        "total_ms": 900.25,
        "started_at": NOON + timedelta(seconds=n),
        "spans": (Span(name="queue", stage="wait", start_ms=0, duration_ms=1.5, detail="x"),),
        "sentences": (SpokenSentence(n=1, text="reply", url=f"/api/audio/{n}/1"),),
    }
    return Turn.model_validate(fields | changes)


def a_conversation(conversation_id: str, at: datetime = NOON, **changes: object) -> Conversation:
    return Conversation.model_validate(
        {"id": conversation_id, "character_id": "luma", "created_at": at, "updated_at": at}
        | changes
    )


# --- characters ---


async def test_a_character_comes_back_whole(database: Database) -> None:
    character = Character(
        id="luma",
        name="Luma ✨ 光",
        profile="A lighthouse keeper's cat.",
        personality=Personality(traits={"curious": 0.9}, quirks=("hums",), likes=("tea",)),
        system_prompt="Be kind.",
        alternate_greetings=("Hi", "Hey"),
        voice=VoiceChoice(engine="piper", name="amy", rate=1.1),
        tags=("cat",),
        extensions={"risu": {"depth": [1, None, "x"]}},
        builtin=True,
        created_at=NOON,
        updated_at=NOON + timedelta(hours=1),
    )
    await database.write(lambda c: characters.put(c, character))
    assert await database.read(lambda c: characters.get(c, "luma")) == character


async def test_a_character_without_times_gets_them(database: Database) -> None:
    stored = await database.write(lambda c: characters.put(c, Character(id="a", name="A")))
    assert stored.created_at is not None
    assert stored.updated_at is not None
    assert await database.read(lambda c: characters.get(c, "a")) == stored


async def test_characters_are_listed_by_name_changed_and_deleted(database: Database) -> None:
    for key, name in (("1", "Zoe"), ("2", "Ada")):
        await database.write(lambda c, k=key, n=name: characters.put(c, Character(id=k, name=n)))
    await database.write(lambda c: characters.put(c, Character(id="1", name="Zoë", profile="new")))
    listed = await database.read(characters.list_all)
    assert [(each.name, each.profile) for each in listed] == [("Ada", ""), ("Zoë", "new")]
    assert await database.write(lambda c: characters.delete(c, "1"))
    assert not await database.write(lambda c: characters.delete(c, "1"))
    assert await database.read(lambda c: characters.get(c, "1")) is None


async def test_text_no_database_takes_is_stored_without_it(database: Database) -> None:
    broken = Character(
        id="a", name="A", profile="half \ud83d pair\x00", extensions={"k\ud83d": ["\udc00"]}
    )
    await database.write(lambda c: characters.put(c, broken))
    stored = await database.read(lambda c: characters.get(c, "a"))
    assert stored is not None
    assert stored.profile == "half ? pair"
    [(key, value)] = stored.extensions.items()
    key.encode()
    assert value == ["?"]


# --- turns and conversations ---


async def test_a_turn_comes_back_whole(database: Database) -> None:
    turn = a_turn(1, error="", emotion="surprise", first_audio_ms=None)
    await database.write(lambda c: turns.put(c, turn))
    assert await database.read(lambda c: turns.get(c, turn.id)) == turn
    assert await database.read(lambda c: turns.get(c, "none")) is None


async def test_a_moment_of_another_time_zone_is_the_same_moment(database: Database) -> None:
    there = timezone(timedelta(hours=-7))
    turn = a_turn(1, started_at=NOON.astimezone(there))
    await database.write(lambda c: turns.put(c, turn))
    stored = await database.read(lambda c: turns.get(c, turn.id))
    assert stored is not None
    assert stored.started_at == NOON
    assert stored.started_at.tzinfo is UTC


async def test_a_turn_stored_again_is_replaced_in_its_place(database: Database) -> None:
    for n in (1, 2):
        await database.write(lambda c, n=n: turns.put(c, a_turn(n)))
    await database.write(
        lambda c: turns.put(c, a_turn(1, reply="only this was heard", outcome="interrupted"))
    )
    history = await database.read(lambda c: conversations.history(c, "stage", 10))
    assert [(each.reply, each.outcome) for each in history] == [
        ("only this was heard", "interrupted"),
        ("reply 2", "done"),
    ]


async def test_history_is_the_newest_part_oldest_first(database: Database) -> None:
    for n in range(1, 8):
        await database.write(lambda c, n=n: turns.put(c, a_turn(n)))
        await database.write(lambda c, n=n: turns.put(c, a_turn(n, "other")))
    history = await database.read(lambda c: conversations.history(c, "stage", 3))
    assert [each.message for each in history] == ["message 5", "message 6", "message 7"]
    last = history[-1]
    assert (last.turn_id, last.author, last.emotion) == ("stage-007", "you", "joy")
    assert (last.audio_file, last.at) == ("/api/audio/7/1", NOON + timedelta(seconds=7))
    assert await database.read(lambda c: turns.latest_number(c, "stage")) == 7
    assert await database.read(lambda c: turns.latest_number(c, "empty")) == 0


async def test_recent_turns_are_paged_newest_first(database: Database) -> None:
    for n in range(1, 6):
        # Two of the same moment: a page must neither repeat nor skip one.
        at = NOON + timedelta(seconds=n // 2)
        await database.write(lambda c, n=n, at=at: turns.put(c, a_turn(n, started_at=at)))
        await database.write(lambda c, n=n, at=at: turns.put(c, a_turn(n, "other", started_at=at)))
    seen: list[str] = []
    before = None
    while page := await database.read(
        lambda c, before=before: turns.recent(c, 2, "stage", before=before)
    ):
        seen += [turn.id for turn in page]
        before = page[-1].id
    assert seen == [f"stage-{n:03d}" for n in (5, 4, 3, 2, 1)]
    assert len(await database.read(lambda c: turns.recent(c, 100))) == 10
    with pytest.raises(NotFoundError, match="'gone'"):
        await database.read(lambda c: turns.recent(c, 2, before="gone"))


async def test_conversations_are_listed_by_last_use_with_their_turns(database: Database) -> None:
    for name, client in (("a", "x"), ("b", "x"), ("c", "y")):
        await database.write(
            lambda c, n=name, u=client: conversations.put(c, a_conversation(n, client_uid=u))
        )
    await database.write(lambda c: turns.put(c, a_turn(1, "a")))
    await database.write(lambda c: conversations.touch(c, "a", NOON + timedelta(minutes=1)))
    listed = await database.read(conversations.list_all)
    assert [(each.id, each.turns) for each in listed] == [("a", 1), ("b", 0), ("c", 0)]
    mine = await database.read(lambda c: conversations.list_all(c, client_uid="y"))
    assert [each.id for each in mine] == ["c"]


async def test_a_conversation_is_changed_cleared_and_deleted(database: Database) -> None:
    await database.write(lambda c: conversations.put(c, a_conversation("a")))
    await database.write(lambda c: conversations.put(c, a_conversation("a", title="Tea")))
    for name in ("a", "b"):
        await database.write(lambda c, n=name: turns.put(c, a_turn(1, n)))
    assert await database.write(lambda c: conversations.clear(c, "a")) == ["a-001"]
    left = await database.read(lambda c: conversations.get(c, "a"))
    assert left is not None
    assert (left.title, left.turns) == ("Tea", 0)
    assert await database.read(lambda c: conversations.history(c, "a", 10)) == []
    assert await database.write(lambda c: conversations.delete(c, "a"))
    assert not await database.write(lambda c: conversations.delete(c, "a"))
    assert await database.read(lambda c: conversations.get(c, "a")) is None
    assert await database.read(lambda c: turns.get(c, "b-001")) is not None


async def test_old_turns_are_forgotten_with_their_words(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.storage.retention.PRUNE_SLICE", 2)
    monkeypatch.setattr("backend.core.clock.now", lambda: NOON + timedelta(days=10))
    for n in range(5):
        await database.write(
            lambda c, n=n: turns.put(c, a_turn(n, started_at=NOON + timedelta(days=n)))
        )
    assert await prune_turns(database, 7.5) == ["stage-000", "stage-001", "stage-002"]
    assert [t.number for t in await database.read(lambda c: turns.recent(c, 9))] == [4, 3]
    history = await database.read(lambda c: conversations.history(c, "stage", 9))
    assert [each.message for each in history] == ["message 3", "message 4"]


# --- modules, models, training data ---


async def test_modules_stay_as_they_were_switched(database: Database) -> None:
    for name, enabled in (("hear", True), ("see", False), ("hear", False)):
        await database.write(lambda c, n=name, e=enabled: modules.put(c, n, e))
    assert await database.read(modules.states) == {"hear": False, "see": False}


async def test_a_model_comes_back_whole(database: Database) -> None:
    model = ModelRecord(
        id="amy",
        name="Amy",
        kind="piper",
        model_path="piper/amy.onnx",
        character_id="luma",
        status="ready",
        epochs_trained=12,
        loss=0.125,
        details={"job": "j1", "scores": [1, 2]},
        created_at=NOON,
        updated_at=NOON,
    )
    await database.write(lambda c: models.put(c, model))
    changed = model.model_copy(update={"status": "failed", "loss": None})
    await database.write(lambda c: models.put(c, changed))
    assert await database.read(lambda c: models.get(c, "amy")) == changed
    assert await database.read(lambda c: models.list_all(c, kind="whisper")) == []
    assert await database.read(models.list_all) == [changed]
    assert await database.write(lambda c: models.delete(c, "amy"))
    assert not await database.write(lambda c: models.delete(c, "amy"))


def a_clip(n: int, **fields: Any) -> ClipRow:
    values: dict[str, Any] = {"filename": f"{n}.wav", "duration_s": 1.5, "created_at": NOON}
    return ClipRow(**(values | {"uid": f"u{n}", "speaker": "ab"[n % 2]} | fields))


async def test_clips_get_an_id_and_are_paged(database: Database) -> None:
    clips = [await database.write(lambda c, n=n: training_data.put(c, a_clip(n))) for n in range(5)]
    assert all(each.id for each in clips)
    everything = training_data.Wanted()
    first = await database.read(lambda c: training_data.page(c, everything, limit=3))
    rest = await database.read(lambda c: training_data.page(c, everything, offset=3, limit=3))
    assert first + rest == clips
    assert len(await database.read(lambda c: training_data.of_speaker(c, "b"))) == 2
    changed = replace(clips[0], transcript="hello", grade="A", reasons=("a hum",))
    await database.write(lambda c: training_data.put(c, changed))
    assert await database.read(lambda c: training_data.by_ids(c, [changed.id or 0])) == [changed]
    assert await database.write(lambda c: training_data.delete(c, [changed.id or 0])) == 1
    with pytest.raises(NotFoundError):
        await database.write(lambda c: training_data.put(c, changed))


async def test_clips_are_found_sorted_and_summed(database: Database) -> None:
    rows = [
        a_clip(0, transcript="Ärger im Büro", status="accepted", grade="A"),
        a_clip(1, transcript="100% sure", speaker="a", measures={"snr_db": 30.0}),
        a_clip(2, transcript="zebra", status="accepted", grade="B", measures={"snr_db": 10.0}),
        a_clip(3, transcript="gone", speaker="a", deleted_at=NOON),
    ]
    for row in rows:
        await database.write(lambda c, row=row: training_data.put(c, row))

    async def texts(wanted: training_data.Wanted, **how: Any) -> list[str]:
        found = await database.read(lambda c: training_data.page(c, wanted, **how))
        return [each.transcript for each in found]

    assert await texts(training_data.Wanted(text="ärger")) == ["Ärger im Büro"]
    assert await texts(training_data.Wanted(text="0%")) == ["100% sure"]
    assert await texts(training_data.Wanted(speaker="a"), sort="snr") == [
        "zebra",
        "100% sure",
        "Ärger im Büro",
    ]
    sums = await database.read(lambda c: training_data.sums(c, training_data.Wanted(speaker="a")))
    assert (sums.total, sums.accepted, sums.minutes) == (3, 2, {"A": 0.025, "B": 0.025})


async def test_a_clip_knows_the_voices_made_of_it(database: Database) -> None:
    await database.write(lambda c: training_data.link(c, "aki", ["u1", "u2"]))
    await database.write(lambda c: training_data.link(c, "zoe", ["u2"]))
    assert await database.read(lambda c: training_data.models_of(c, ["u1", "u2", "u3"])) == {
        "u1": ("aki",),
        "u2": ("aki", "zoe"),
    }
    await database.write(lambda c: training_data.link(c, "aki", ["u1"]))
    await database.write(lambda c: training_data.unlink(c, ["u1"]))
    assert await database.read(lambda c: training_data.models_of(c, ["u1", "u2"])) == {
        "u2": ("zoe",)
    }
