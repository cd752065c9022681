"""What a reply does to the avatar, with its sound: when a sentence is heard, and never when it was not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from backend.avatar.cues import Cues
from backend.avatar.rigs import Rigs
from backend.avatar.state import AvatarState
from backend.chat.characters import Characters
from backend.chat.conversations import Chat
from backend.chat.turn import TurnRunner
from backend.contracts.entities import STAGE, Audio, Speech, VoiceChoice
from backend.core.bus import EventBus
from backend.modes.mind import alone
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from backend.storage.database import Database
from tests.fakes import PlaysOn, Watch, WritesText


class Speaks:
    """A voice of half a second a sentence."""

    async def synthesize(self, text: str, voice: VoiceChoice) -> Speech:
        return Speech(Audio(bytes(8_000), 8_000), "fake", "fake")


async def test_what_was_never_heard_was_never_shown(tmp_path: Path) -> None:
    database = Database("", tmp_path)
    await database.open()
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    characters = Characters(database, bus, tmp_path / "avatars")
    await characters.open()
    rigs = Rigs(tmp_path / "rigs")
    await rigs.refresh(now=True)
    player = Player(bus, PlaysOn(), lambda cue, turn_id, _: cues.fire(cue, turn_id, "hoshi"))

    def position_s() -> float | None:
        playing = player.now_playing()
        return playing.position_s if playing is not None else None

    avatar = AvatarState(bus, position_s=position_s)
    cues = Cues(avatar, rigs, characters.known)
    llm = WritesText(["[joy] One sentence that is heard. *nods* Another that is not. [wave]"])
    sounds = SoundStore(tmp_path / "turns", max_bytes=10**9, max_age_days=1)
    runner = TurnRunner(bus, alone(lambda: llm), Speaks, sounds, player, cues=cues)
    chat = Chat(bus=bus, database=database, characters=characters, runner=runner)
    await chat.start()
    async with Watch(bus) as seen:
        handle = await chat.send("go", conversation_id=STAGE)
        await seen.until("playback.position")
        while len(avatar.timeline()) < 4:  # three are scheduled, one is shown
            await asyncio.sleep(0)
        assert avatar.shown("hoshi").motion is None
        assert await chat.interrupt(STAGE)
        await handle.result()
    lines = avatar.timeline(turn_id=handle.turn_id)
    assert [f"{each.name} {each.outcome}" for each in lines if each.outcome != "scheduled"] == [
        "joy shown",
        "nod dropped",
        "wave dropped",
    ]
    shown = next(each for each in lines if each.outcome == "shown")
    assert shown.playing_s is not None
    assert shown.sentence == 1
    assert "never heard" in lines[-1].reason
    # What a model is told is what the rig has.
    assert "[wave]" in json.dumps([message.text for message in llm.prompts[0].messages])
    avatar.close()
    await chat.stop()
    await database.close()
