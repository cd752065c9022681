"""The speaker over a binding that keeps what it is given: everywhere, without a sound system."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import sys
from array import array
from collections.abc import AsyncIterator

import pytest

from backend.clients import portaudio
from backend.contracts.entities import Audio
from backend.contracts.errors import EngineFailedError, EngineUnavailableError
from backend.outputs import speaker as module
from backend.outputs.base import SpeakerOptions
from backend.outputs.speaker import Speaker, level_dbfs, scaled
from tests.fake_sounddevice import RATE_HZ, Binding, PortAudioError


@pytest.fixture
def binding(monkeypatch: pytest.MonkeyPatch) -> Binding:
    fake = Binding()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


@pytest.fixture
async def speaker(binding: Binding) -> AsyncIterator[Speaker]:
    one = Speaker()
    yield one
    binding.gate.set()
    await one.close()


def tone(seconds: float = 0.2, rate: int = RATE_HZ) -> Audio:
    wave = (
        round(9000 * math.cos(2 * math.pi * 220 * i / rate)) for i in range(int(seconds * rate))
    )
    return Audio(array("h", wave).tobytes(), rate)


def long_tone() -> Audio:
    """Ten minutes: longer than a device without a clock can take in before anybody stops it."""
    return Audio(tone(1.0).pcm * 600, RATE_HZ)


def nothing(_position: float, _level: float) -> None:
    pass


async def test_a_device_is_given_the_sound_as_it_is(speaker: Speaker, binding: Binding) -> None:
    made = tone()
    assert await speaker.play(made, nothing) == pytest.approx(0.2)
    assert binding.played == array("h", made.pcm)


async def test_a_device_is_chosen_by_its_name(speaker: Speaker, binding: Binding) -> None:
    await speaker.set_device("Headphones")
    await speaker.play(tone(), nothing)
    assert binding.streams[-1].wanted["device"] == 1
    assert [device.name for device in await speaker.devices()] == ["Built-in", "Headphones"]


async def test_a_name_that_is_not_there_lists_those_that_are(
    speaker: Speaker, binding: Binding
) -> None:
    await speaker.set_device("Radio")
    with pytest.raises(EngineUnavailableError, match="'Radio' is not there; there are: Built-in"):
        await speaker.play(tone(), nothing)
    assert binding.starts == 1  # looked for anew before giving up
    binding.names.append("Radio")
    assert await speaker.play(tone(), nothing) > 0


async def test_a_rate_the_device_refuses_is_converted_once_and_for_all(binding: Binding) -> None:
    asked: list[tuple[int, int]] = []

    async def convert(audio: Audio, rate_hz: int) -> Audio:
        asked.append((audio.rate_hz, rate_hz))
        return tone(audio.duration_s, rate_hz)

    one = Speaker(SpeakerOptions(convert=convert))
    for _ in range(2):
        assert await one.play(tone(0.2, 22_050), nothing) == pytest.approx(0.2, abs=0.001)
    await one.close()
    assert asked == [(22_050, 48_000)] * 2
    assert [stream.wanted["samplerate"] for stream in binding.streams] == [48_000]


async def test_a_device_without_mono_gets_both_channels(speaker: Speaker, binding: Binding) -> None:
    binding.channels = {2}
    made = tone()
    await speaker.play(made, nothing)
    both = array("h", bytes(binding.streams[0].data))
    mono = array("h", made.pcm)
    first = next(i for i, value in enumerate(both) if value)
    assert both[first : first + 2 * len(mono) : 2] == mono
    assert both[first + 1 : first + 2 * len(mono) : 2] == mono


async def test_without_portaudio_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    one = Speaker()
    one.warm()
    with pytest.raises(EngineUnavailableError, match="libportaudio2"):
        await one.play(tone(), nothing)
    with pytest.raises(EngineUnavailableError, match="libportaudio2"):
        await one.devices()
    await one.close()


async def test_without_any_device_the_message_says_so(speaker: Speaker, binding: Binding) -> None:
    binding.names = []
    with pytest.raises(EngineUnavailableError, match="no sound output"):
        await speaker.play(tone(), nothing)


async def begun(binding: Binding) -> None:
    while not binding.streams or "start" not in binding.streams[0].calls:
        await asyncio.sleep(0.001)


async def test_a_stop_fades_within_10_ms_and_says_what_was_heard(
    speaker: Speaker, binding: Binding
) -> None:
    made = long_tone()
    heard = round(await speaker.play(made, lambda *_: speaker.stop()) * RATE_HZ)
    played = binding.played
    whole = array("h", made.pcm)
    assert 0 < heard < len(whole)
    assert played[:heard] == whole[:heard]
    faded = played[heard:]
    assert 0 < len(faded) <= 0.01 * RATE_HZ
    assert all(
        abs(soft - loud * (1 - n / (0.01 * RATE_HZ))) <= 1
        for n, (soft, loud) in enumerate(zip(faded, whole[heard:], strict=False))
    )


async def test_a_device_that_holds_much_is_emptied_at_a_stop(
    speaker: Speaker, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FADES_BELOW_S", 0.001)
    heard = round(await speaker.play(long_tone(), lambda *_: speaker.stop()) * RATE_HZ)
    assert "abort" in binding.streams[0].calls
    # The half buffer that the device still held was never heard.
    assert heard == len(binding.streams[0].data) / 2 - RATE_HZ * module.RUN_IN_S - 240


async def test_an_announced_sound_follows_with_the_next_sample(
    speaker: Speaker, binding: Binding
) -> None:
    one, two, three = tone(0.2), tone(0.1), tone(0.3)
    at: list[float] = []
    binding.gate.clear()
    playing = asyncio.create_task(speaker.play(one, nothing))
    await begun(binding)
    await speaker.follow(two)
    binding.gate.set()
    assert await playing == pytest.approx(0.2)
    assert await speaker.play(two, lambda position, _level: at.append(position)) == pytest.approx(
        0.1
    )
    # Comes too late, or unannounced: it still plays.
    assert await speaker.play(three, nothing) == pytest.approx(0.3)
    whole = array("h", one.pcm + two.pcm)
    assert binding.played[: len(whole)] == whole
    assert len(binding.streams) == 1
    assert at == sorted(at)


async def test_a_sound_of_another_rate_follows_at_the_rate_of_the_one_before(
    binding: Binding,
) -> None:
    async def convert(audio: Audio, rate_hz: int) -> Audio:
        return tone(audio.duration_s, rate_hz)

    one = Speaker(SpeakerOptions(convert=convert))
    binding.gate.clear()
    playing = asyncio.create_task(one.play(tone(0.2), nothing))
    await begun(binding)
    other = tone(0.1, 48_000)
    await one.follow(other)
    binding.gate.set()
    await playing
    assert await one.play(other, nothing) == pytest.approx(0.1)
    await one.close()
    assert [stream.wanted["samplerate"] for stream in binding.streams] == [RATE_HZ]


async def test_a_stop_takes_what_was_announced_with_it(speaker: Speaker, binding: Binding) -> None:
    binding.gate.clear()
    playing = asyncio.create_task(speaker.play(tone(0.2), nothing))
    await begun(binding)
    await speaker.follow(tone(3.0))
    speaker.stop()
    binding.gate.set()
    await playing
    await speaker.close()
    assert len(binding.played) < 0.1 * RATE_HZ


async def test_a_device_lost_takes_what_plays_and_nothing_plays_by_itself_afterwards(
    speaker: Speaker, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    binding.gate.clear()
    playing = asyncio.create_task(speaker.play(tone(2.0), nothing))
    await begun(binding)
    two = tone(0.1)
    await speaker.follow(two)

    def gone(_pcm: object) -> bool:
        raise PortAudioError("Device unavailable", -9985)

    monkeypatch.setattr(binding.streams[0], "write", gone)
    binding.gate.set()
    with pytest.raises(EngineUnavailableError, match="Device unavailable"):
        await playing
    assert len(binding.played) == 0
    # It is back: what was announced is played like any other.
    assert await speaker.play(two, nothing) == pytest.approx(0.1)
    assert binding.played == array("h", two.pcm)


async def test_what_left_the_device_is_known_with_its_times(
    speaker: Speaker, binding: Binding
) -> None:
    speaker.set_volume(0.5)
    made = tone(0.2)
    await speaker.play(made, nothing)
    await speaker.close()
    sounds = speaker.sounding()
    assert b"".join(one.pcm for one in sounds) == scaled(array("h", made.pcm), 0.5, 0.5).tobytes()


async def test_a_device_that_hangs_is_left_behind_three_times_and_no_more(
    speaker: Speaker, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HANGS_S", 0.01)
    binding.gate.clear()

    async def try_again() -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await speaker.play(tone(), nothing)

    for _ in range(2):  # a device that has come back counts no more
        with pytest.raises(EngineFailedError, match="hangs again and again"):
            await try_again()
        assert len(speaker._hanging) == module.MOST_HANGING
        binding.gate.set()
        async with asyncio.timeout(5):
            while any(thread.is_alive() for thread in speaker._hanging):
                await asyncio.sleep(0.005)
            assert await speaker.play(tone(), nothing) == pytest.approx(0.2)
        binding.gate.clear()
    binding.gate.set()


async def test_a_device_that_runs_dry_is_given_more_to_hold(
    speaker: Speaker, binding: Binding
) -> None:
    await speaker.play(tone(), nothing)
    binding.streams[0].dry = 4
    await speaker.play(tone(), nothing)
    await speaker.close()  # it rests
    await speaker.play(tone(), nothing)
    binding.streams[1].dry = 30
    await speaker.play(tone(), nothing)
    await speaker.play(tone(), nothing)
    held = [stream.wanted["latency"] for stream in binding.streams]
    assert held == [module.LATENCY_S, 2 * module.LATENCY_S, module.LONGEST_LATENCY_S]


async def test_a_device_that_runs_smoothly_again_is_given_less_to_hold(
    speaker: Speaker, binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SMOOTH_S", 0.3)
    await speaker.play(tone(), nothing)
    binding.streams[0].dry = 4
    for _ in range(6):
        await speaker.play(tone(), nothing)
        await speaker.close()  # it rests between two of them
    held = [stream.wanted["latency"] for stream in binding.streams]
    assert held[:3] == [module.LATENCY_S, 2 * module.LATENCY_S, 2 * module.LATENCY_S]
    assert held[-1] == module.LATENCY_S


async def test_nothing_is_reported_after_the_end(speaker: Speaker, binding: Binding) -> None:
    seen: list[float] = []
    await speaker.play(tone(), lambda at, _level: seen.append(at))
    count = len(seen)
    await asyncio.sleep(0)
    assert 0 < count == len(seen)
    assert seen == sorted(seen)
    assert seen[-1] <= 0.2


def test_devices_are_not_looked_for_anew_while_one_is_open(binding: Binding) -> None:
    stream = portaudio.OutputStream(portaudio.find_output(""), RATE_HZ, 0.03)
    assert not portaudio.refresh()
    stream.close()
    assert portaudio.refresh()


def test_volume_glides_and_levels_are_rms() -> None:
    full = array("h", [10_000] * 100)
    assert list(scaled(full, 0.5, 0.5)) == [5000] * 100
    glide = scaled(full, 1.0, 0.0)
    assert glide[0] == 10_000
    assert all(a >= b for a, b in itertools.pairwise(glide))
    assert glide[-1] <= 100
    assert level_dbfs(array("h", [16384] * 10)) == pytest.approx(-6.02, abs=0.01)
    assert level_dbfs(array("h", [0] * 10)) == -120
