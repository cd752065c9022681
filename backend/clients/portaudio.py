"""PortAudio: the computer's sound devices, listed, opened, and looked for again.

PortAudio knows the devices of the moment it was started. To see one that was plugged in later it has to be started
again, which would cut every open stream: `refresh` does so only while none is open. Everything here blocks (the first
call for up to two seconds) and may be called from any thread, never from the backend's loop.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import backend
from backend.contracts.errors import EngineUnavailableError

logger = logging.getLogger(__name__)

COMMON_RATES = (48_000, 44_100)
_INVALID_RATE = -9997
_INVALID_CHANNELS = -9998

INPUT_LATENCY_S = 0.06
"""Sound a microphone's system keeps for us: it comes in pieces of a quarter of it (ALSA), the rest is for a busy computer.
The binding's own choice is from 35 to 180 ms."""

_OF_THE_SYSTEM = re.compile(r"Unanticipated host error \[PaErrorCode -?\d+\]: '(.*?)' \[")
_OF_PORTAUDIO = re.compile(r"Error \w+ \w*Stream: (.*?)(?: \[PaErrorCode -?\d+\])?$")

LOCK_PATIENCE_S = 5.0
"""Another thread is inside PortAudio for so long only when a device hangs there; the first start takes up to two."""

_lock = threading.Lock()


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """PortAudio for one thread at a time.

    Raises:
        EngineUnavailableError: A device hangs in another thread: one more thread must not wait for it without end.
    """
    if not _lock.acquire(timeout=LOCK_PATIENCE_S):
        raise EngineUnavailableError(
            "The computer's sound system does not answer: a device hangs. Unplug it, or restart the sound system."
        )
    try:
        yield
    finally:
        _lock.release()


class _Library:
    """What there is once a process, guarded by the lock."""

    open_streams = 0
    alsa_silencer: Any = None


class RateRefusedError(Exception):
    """The device plays no sound of this rate, but of ``rate_hz``."""

    def __init__(self, rate_hz: int) -> None:
        super().__init__(f"the device wants {rate_hz} Hz")
        self.rate_hz = rate_hz


@dataclass(frozen=True, slots=True)
class Device:
    """A device as PortAudio lists it; ``index`` None stands for the system's own choice."""

    index: int | None
    name: str
    host_api: str
    is_default: bool
    rate_hz: int


def load() -> Any:
    """The binding, started.

    Raises:
        EngineUnavailableError: The library is not installed.
    """
    with _locked():
        return _load()


def open_streams() -> int:
    """How many devices are open now, for input and output."""
    return _Library.open_streams


def refresh() -> bool:
    """Look for devices again, unless a stream is open; return whether that was done."""
    with _locked():
        binding = _load()
        if _Library.open_streams:
            return False
        try:
            binding._terminate()
            binding._initialize()
        except binding.PortAudioError as error:
            logger.warning("the sound devices could not be listed again: %s", error)
            return False
        return True


def outputs() -> list[Device]:
    """What can be played on, one entry a name; the system's choice first among equals."""
    return _devices(is_input=False)


def inputs() -> list[Device]:
    """What can be recorded from, one entry a name; the system's choice first among equals."""
    return _devices(is_input=True)


def listing() -> dict[str, list[dict[str, Any]]]:
    """All devices as plain values: ``inputs`` and ``outputs``, each with name, host_api, is_default and rate_hz.

    Raises:
        EngineUnavailableError: They cannot be listed, with the reason.
    """
    return {
        kind: [
            {
                "name": device.name,
                "host_api": device.host_api,
                "is_default": device.is_default,
                "rate_hz": device.rate_hz,
            }
            for device in devices
        ]
        for kind, devices in (("inputs", inputs()), ("outputs", outputs()))
    }


def listing_elsewhere(timeout_s: float = 10.0) -> dict[str, list[dict[str, Any]]]:
    """`listing` as a process sees it that starts now: the only way to see what was plugged in while a stream is open.

    Raises:
        EngineUnavailableError: It cannot be asked, with the reason.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-m", __name__],
            cwd=Path(backend.__file__).resolve().parent.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=True,
        )
        found: dict[str, list[dict[str, Any]]] = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise EngineUnavailableError(f"The sound devices cannot be listed ({error}).") from error
    return found


def _devices(*, is_input: bool) -> list[Device]:
    with _locked():
        binding = _load()
        try:
            default = binding.default.device[0 if is_input else 1]
            apis = [api["name"] for api in binding.query_hostapis()]
            found = list(binding.query_devices())
        except binding.PortAudioError as error:
            raise EngineUnavailableError(
                f"The sound devices cannot be listed ({error})."
            ) from error
    devices: dict[str, Device] = {}
    for index, device in enumerate(found):
        if device["max_input_channels" if is_input else "max_output_channels"] <= 0:
            continue
        # Windows lists a device once for each of its sound systems.
        if device["name"] not in devices or index == default:
            devices[device["name"]] = Device(
                index,
                device["name"],
                apis[device["hostapi"]],
                index == default,
                round(device["default_samplerate"]),
            )
    return list(devices.values())


def find_output(name: str) -> Device:
    """The device of a name; empty = the system's choice.

    Raises:
        EngineUnavailableError: There is none, with those that there are.
    """
    there = outputs()
    if not there:
        raise EngineUnavailableError(
            "This computer has no sound output. Plug one in, or set AUDIO_SINK=none."
        )
    for device in there:
        if device.name == name or (not name and device.is_default):
            return device
    if not name:
        return there[0]
    names = ", ".join(device.name for device in there)
    raise EngineUnavailableError(
        f"The sound output {name!r} is not there; there are: {names}. Plug it in, or choose another one in the Chat tab."
    )


def find_input(name: str) -> Device:
    """The microphone of a name; empty = the system's choice.

    Raises:
        EngineUnavailableError: There is none, with those that there are.
    """
    there = inputs()
    if not there:
        raise EngineUnavailableError(
            "This computer has no microphone. Plug one in, and allow Luma to use it in the system's settings."
        )
    for device in there:
        if device.name == name or (not name and device.is_default):
            return device
    if not name:
        return there[0]
    names = ", ".join(device.name for device in there)
    raise EngineUnavailableError(
        f"The microphone {name!r} is not there; there are: {names}. Plug it in, or choose another one."
    )


def default_input() -> str:
    """Name of the system's microphone as a process sees it that has just looked; for a process that opens no devices."""
    refresh()
    return next((device.name for device in inputs() if device.is_default), "")


class InputStream:
    """An open microphone that hands over PCM16 as it comes.

    Args:
        device: Which, as `find_input` gave it.
        rate_hz: Of the sound.
        on_sound: Called on PortAudio's own thread with each piece as the device gives it; must only hand it over. `mono`
            makes one channel of it.
        on_end: Called on another thread when the device stopped by itself.

    Raises:
        RateRefusedError: The device wants another rate.
        EngineUnavailableError: PortAudio is not installed, or hangs.
        Exception: Whatever the binding raises when it cannot be opened.
    """

    def __init__(
        self,
        device: Device,
        rate_hz: int,
        on_sound: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self.rate_hz = rate_hz
        self._is_closing = False

        def arrive(data: Any, _frames: int, _time: Any, _status: Any) -> None:
            on_sound(bytes(data))

        def ended() -> None:
            if not self._is_closing:
                on_end()

        with _locked():
            binding = _load()
            self._channels, self._stream = _open_input(binding, device, rate_hz, arrive, ended)
            _Library.open_streams += 1

    def start(self) -> None:
        """Begin to listen."""
        self._stream.start()

    def mono(self, sound: bytes) -> bytes:
        """One channel of what was handed over."""
        return sound if self._channels == 1 else _first_of_two(sound)

    def close(self) -> None:
        """Stop listening and free the device; never raises, but a device that hangs never comes back."""
        if self._is_closing:
            return
        self._is_closing = True
        try:
            # Outside of the lock: a device that hangs does so here, and the others must go on.
            self._stream.abort()
        except Exception as error:  # noqa: BLE001  it is being thrown away
            logger.debug("stopping a microphone: %s", error)
        with _lock:
            _Library.open_streams -= 1
            try:
                self._stream.close()
            except Exception as error:  # noqa: BLE001  it is being thrown away
                logger.debug("closing a microphone: %s", error)


class OutputStream:
    """An open device that takes mono PCM16; for one thread.

    Args:
        device: Which, as `find_output` gave it.
        rate_hz: Of the sound.
        latency_s: How much sound the device may hold ready.

    Raises:
        RateRefusedError: The device wants another rate.
        EngineUnavailableError: PortAudio is not installed.
        Exception: Whatever the binding raises when it cannot be opened.
    """

    def __init__(self, device: Device, rate_hz: int, latency_s: float) -> None:
        self.rate_hz = rate_hz
        self._is_running = False
        with _locked():
            binding = _load()
            self._channels, self._stream = _open(binding, device, rate_hz, latency_s)
            _Library.open_streams += 1
        self._capacity = 0
        self.beyond = 0
        """Frames the device holds in addition to the buffer that can be looked into."""

    @property
    def is_running(self) -> bool:
        """Whether the device is asking for sound."""
        return self._is_running

    def start(self) -> None:
        """Begin to play what is written."""
        self._stream.start()
        self._is_running = True
        self._capacity = self._room()
        self.beyond = max(0, round(self._stream.latency * self.rate_hz) - self._capacity)

    def write(self, pcm: Any) -> bool:
        """Hand over PCM16 mono, waiting for room; return whether the device ran dry before it."""
        if self._channels == 2:
            pcm = _doubled(pcm)
        return bool(self._stream.write(pcm))

    def waiting(self) -> int:
        """Frames in the buffer that can be looked into."""
        return max(0, self._capacity - self._room())

    def held(self) -> int:
        """Frames that were written and not heard yet."""
        return self.waiting() + self.beyond

    def stop(self) -> None:
        """Play what is held, then rest."""
        if self._is_running:
            self._is_running = False
            self._stream.stop()

    def abort(self) -> None:
        """Rest at once; what is held is thrown away."""
        if self._is_running:
            self._is_running = False
            self._stream.abort()

    def abandon(self) -> None:
        """Rest without asking a device that has failed; never raises."""
        with contextlib.suppress(Exception):
            self.abort()

    def close(self) -> None:
        """Free the device; never raises."""
        with _lock:
            _Library.open_streams -= 1
            try:
                self._stream.close()
            except Exception as error:  # noqa: BLE001  it is being thrown away
                logger.debug("closing a sound device: %s", error)

    def _room(self) -> int:
        return int(self._stream.write_available)


def _open(binding: Any, device: Device, rate_hz: int, latency_s: float) -> tuple[int, Any]:
    """Open with one channel, with two where one is refused; say which rate to use where the rate is."""

    def stream(channels: int) -> Any:
        return binding.RawOutputStream(
            samplerate=rate_hz,
            channels=channels,
            dtype="int16",
            device=device.index,
            latency=latency_s,
            blocksize=0,
        )

    try:
        try:
            return 1, stream(1)
        except binding.PortAudioError as error:
            if _code(error) != _INVALID_CHANNELS:
                raise
            return 2, stream(2)
    except binding.PortAudioError as error:
        if _code(error) != _INVALID_RATE:
            raise
        for rate in (device.rate_hz, *COMMON_RATES):
            if rate != rate_hz and _takes(binding, device, rate):
                raise RateRefusedError(rate) from error
        raise


def _open_input(
    binding: Any, device: Device, rate_hz: int, arrive: Any, ended: Any
) -> tuple[int, Any]:
    """Open with one channel, with two where one is refused; say which rate to use where the rate is."""

    def stream(channels: int, rate: int) -> Any:
        return binding.RawInputStream(
            samplerate=rate,
            channels=channels,
            dtype="int16",
            device=device.index,
            latency=INPUT_LATENCY_S,
            callback=arrive,
            finished_callback=ended,
        )

    try:
        try:
            return 1, stream(1, rate_hz)
        except binding.PortAudioError as error:
            if _code(error) != _INVALID_CHANNELS:
                raise
            return 2, stream(2, rate_hz)
    except binding.PortAudioError as error:
        if _code(error) != _INVALID_RATE:
            raise
        for rate in (device.rate_hz, *COMMON_RATES):
            if rate != rate_hz:
                for channels in (1, 2):
                    with contextlib.suppress(binding.PortAudioError, ValueError):
                        binding.check_input_settings(
                            device=device.index, channels=channels, dtype="int16", samplerate=rate
                        )
                        raise RateRefusedError(rate) from error
        raise


def _first_of_two(both: bytes) -> bytes:
    """The left channel: a mono microphone on a stereo plug is silent on the right one."""
    mono = bytearray(len(both) // 2)
    mono[0::2] = both[0::4]
    mono[1::2] = both[1::4]
    return bytes(mono)


def _takes(binding: Any, device: Device, rate_hz: int) -> bool:
    for channels in (1, 2):
        with contextlib.suppress(binding.PortAudioError, ValueError):
            binding.check_output_settings(
                device=device.index, channels=channels, dtype="int16", samplerate=rate_hz
            )
            return True
    return False


def _code(error: Exception) -> int:
    code = error.args[1] if len(error.args) > 1 else 0
    return code if isinstance(code, int) else 0


def why(error: Exception) -> str:
    """What an error says to a person, in brackets after a space; empty when it names only PortAudio's own parts."""
    said = str(error)
    if host := _OF_THE_SYSTEM.search(said):
        said = host[1]
    elif own := _OF_PORTAUDIO.match(said):
        said = own[1]
    return f" ({said})" if said.strip() else ""


def _doubled(pcm: Any) -> bytes:
    """Mono as two equal channels."""
    mono = memoryview(pcm).cast("B")
    both = bytearray(2 * len(mono))
    both[0::4] = both[2::4] = mono[0::2]
    both[1::4] = both[3::4] = mono[1::2]
    return bytes(both)


def _load() -> Any:
    _silence_alsa()
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise EngineUnavailableError(
            "Sound needs the library PortAudio: on Debian or Ubuntu run `sudo apt install libportaudio2`."
        ) from error
    return sounddevice


def _silence_alsa() -> None:
    """Keep libasound from printing a line for every device of its configuration that this computer lacks."""
    if _Library.alsa_silencer is not None or not sys.platform.startswith("linux"):
        return
    kind = ctypes.CFUNCTYPE(
        None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
    )
    # Kept: libasound calls it as long as the process lives.
    _Library.alsa_silencer = kind(lambda *_: None)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_Library.alsa_silencer)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(listing()))
