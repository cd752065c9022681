"""A microphone by name: the computer's through PortAudio, or a sound file that plays one.

Whoever listens gets mono PCM16 in pieces as it comes, in the loop. What can go wrong with a device (gone, busy, forbidden,
pulled out, silent for ever, hanging) becomes words; nothing of it raises later than `Microphones.open`. Two who listen to
the same device share it, so that a system that lends it once only serves both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from backend.audio.wav import read_wav
from backend.clients import portaudio
from backend.contracts.errors import AppError, EngineUnavailableError
from backend.core.clock import monotonic_s

logger = logging.getLogger(__name__)

T = TypeVar("T")

BEST_HZ = 48_000
"""Asked for first: what microphones give themselves, so that nobody resamples twice."""

SILENT_S = 3.0
"""A device that gives no sample for so long is gone, whatever the system says."""

PIECE_S = 0.02

PATIENCE_S = 8.0
"""For opening a device or looking for devices: PortAudio's first start takes two seconds, a headset by radio some more."""

CLOSE_PATIENCE_S = 2.0

LIST_PATIENCE_S = 15.0
"""While something is open another process has to be started to look, 0.3 s on an idle machine."""

MOST_HANGING = 3
"""Threads left behind in hanging devices before nothing more is tried until one of them comes back."""

MOST_WAITING = 3000
"""Pieces kept for a loop that does not take them, 30 s and more; then the oldest go."""


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A microphone by the name a person knows it under."""

    name: str
    is_default: bool
    host_api: str = ""


OnSound = Callable[[bytes], None]
"""Called in the loop with each piece of PCM16 mono."""

OnProblem = Callable[[str], None]
"""Called in the loop, once, when nothing more will come, with the reason in words."""


class Microphone(Protocol):
    """An open microphone."""

    rate_hz: int
    device: str
    """Its name, also where the system's choice was asked for."""

    async def close(self) -> None:
        """Stop listening; nothing is handed over afterwards."""
        ...


class Microphones(Protocol):
    """Where microphones are."""

    async def listed(self) -> list[InputDevice]:
        """Those that are there now.

        Raises:
            EngineUnavailableError: They cannot be listed, with the reason.
        """
        ...

    async def open(self, name: str, on_sound: OnSound, on_problem: OnProblem) -> Microphone:
        """Listen to the microphone of a name; empty = the system's choice.

        Raises:
            EngineUnavailableError: It is not there, busy or forbidden, with what to do.
        """
        ...

    async def has_moved(self, microphone: Microphone) -> bool:
        """Whether the system's choice is another one than this, and would be found if this one were closed."""
        ...


class ComputersMicrophones:
    """The devices that PortAudio finds.

    Args:
        ask_default: Gives the name of the system's microphone of the moment, asked in another process: PortAudio knows
            the one of its start. None where the system moves open streams itself (PulseAudio and PipeWire do).
    """

    def __init__(self, ask_default: Callable[[], Awaitable[str]] | None = None) -> None:
        self._ask_default = ask_default
        self._open: dict[str, _Device] = {}
        self._opening = asyncio.Lock()
        self._threads = _Threads()
        self._is_stale = False

    async def listed(self) -> list[InputDevice]:
        """See `Microphones`."""

        def look() -> list[InputDevice]:
            found = portaudio.inputs() if portaudio.refresh() else _seen_elsewhere()
            return [InputDevice(one.name, one.is_default, one.host_api) for one in found]

        return await self._threads.run(look, LIST_PATIENCE_S)

    async def open(self, name: str, on_sound: OnSound, on_problem: OnProblem) -> Microphone:
        """See `Microphones`."""
        async with self._opening:
            try:
                found = await self._threads.run(lambda: self._find(name), PATIENCE_S)
                device = self._open.get(found.name)
                if device is None:
                    device = await self._open_new(name, found)
                return device.join(on_sound, on_problem)
            except EngineUnavailableError:
                raise
            except Exception as error:
                raise EngineUnavailableError(
                    f"{_title(name)} cannot be listened to{portaudio.why(error)}. Another program may hold it, or the system may forbid"
                    " it: close the other program, allow Luma in the system's privacy settings, or choose another"
                    " microphone."
                ) from error

    async def has_moved(self, microphone: Microphone) -> bool:
        """See `Microphones`."""
        if self._ask_default is None or portaudio.open_streams() > 1:
            return False  # looking anew would cut the other streams
        try:
            name = await self._ask_default()
        except AppError as error:
            logger.debug("the system's microphone could not be asked for: %s", error.message)
            return False
        self._is_stale = bool(name) and name != microphone.device
        return self._is_stale

    def _find(self, name: str) -> portaudio.Device:
        if self._is_stale and portaudio.refresh():
            self._is_stale = False
        try:
            return portaudio.find_input(name)
        except EngineUnavailableError:
            if not portaudio.refresh():
                raise
            return portaudio.find_input(name)

    async def _open_new(self, name: str, found: portaudio.Device) -> _Device:
        device = _Device(_title(name), found, self._forget, self._threads)
        try:
            try:
                await self._threads.run(device.open, PATIENCE_S)
            except Exception as error:
                # Its number may be another device's since it was listed.
                if not await self._threads.run(portaudio.refresh, PATIENCE_S):
                    raise
                logger.debug("the microphone %r: %s; looked for devices anew", name, error)
                await device.close()
                found = await self._threads.run(lambda: portaudio.find_input(name), PATIENCE_S)
                device = _Device(_title(name), found, self._forget, self._threads)
                await self._threads.run(device.open, PATIENCE_S)
        except BaseException:
            await device.close()
            raise
        self._open[found.name] = device
        return device

    def _forget(self, device: _Device) -> None:
        for name in [name for name, one in self._open.items() if one is device]:
            del self._open[name]


def _seen_elsewhere() -> list[portaudio.Device]:
    """Microphones as another process sees them: this one cannot look anew while a stream is open."""
    try:
        return [portaudio.Device(None, **one) for one in portaudio.listing_elsewhere()["inputs"]]
    except EngineUnavailableError as error:
        logger.info("%s", error.message)
        return portaudio.inputs()


def _title(name: str) -> str:
    return f"The microphone {name!r}" if name else "The system's microphone"


class _Threads:
    """Runs what a device may hang in, each on a thread of its own: the loop's workers would run out."""

    def __init__(self) -> None:
        self._hanging = 0

    async def run(self, work: Callable[[], T], patience_s: float) -> T:
        """Do blocking work.

        Raises:
            EngineUnavailableError: It hangs; its thread is left to it.
        """
        if self._hanging >= MOST_HANGING:
            raise EngineUnavailableError(
                "The computer's sound system still hangs. Unplug the device, or restart the sound system or Luma."
            )
        loop = asyncio.get_running_loop()
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()

        def run() -> None:
            try:
                value = work()
            except BaseException as error:  # noqa: BLE001  it is raised by whoever waits
                done.set_exception(error)
            else:
                done.set_result(value)

        threading.Thread(target=run, name="microphone", daemon=True).start()
        try:
            async with asyncio.timeout(patience_s):
                return await asyncio.wrap_future(done)
        except TimeoutError:
            self._hanging += 1

            def come_back(_: Future[T]) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self._come_back)

            done.add_done_callback(come_back)
            raise EngineUnavailableError(
                f"The computer's sound system has not answered for {patience_s:.0f} s: a device hangs. Unplug it, choose"
                " another microphone, or restart the sound system."
            ) from None

    def _come_back(self) -> None:
        self._hanging -= 1


class _Handover:
    """Sound from a device's thread to the loop, with one wake for all pieces that wait.

    Args:
        take: Called in the loop with each piece.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._take = take
        self._pieces: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._is_waking = False

    def put(self, piece: bytes) -> None:
        """Hand over; for the device's thread."""
        self._pieces.append(piece)
        if not self._is_waking:
            self._is_waking = True
            try:
                self._loop.call_soon_threadsafe(self._take_all)
            except RuntimeError:  # the loop has ended: nobody listens
                return

    def _take_all(self) -> None:
        self._is_waking = False  # before looking: what is put from now on wakes again
        while self._pieces:
            self._take(self._pieces.popleft())


class _Device:
    """An open device, watched, and everybody who listens to it.

    Args:
        title: What to call it in messages.
        device: Which.
        forget: Told when nobody can join any more.
        threads: For what may hang.
    """

    def __init__(
        self,
        title: str,
        device: portaudio.Device,
        forget: Callable[[_Device], None],
        threads: _Threads,
    ) -> None:
        self.rate_hz = BEST_HZ
        self.name = device.name
        self._device = device
        self._title = title
        self._forget = forget
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._handover = _Handover(self._arrive)
        self._stream: portaudio.InputStream | None = None
        self._listeners: list[_Listener] = []
        self._last_s = monotonic_s()
        self._is_over = False
        self._problem = ""
        self._watcher: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Open the device; on a thread that may hang in it."""
        try:
            stream = self._stream_at(BEST_HZ)
        except portaudio.RateRefusedError as refused:
            stream = self._stream_at(refused.rate_hz)
        self.rate_hz = stream.rate_hz
        self._stream = stream
        if self._is_over:  # nobody waited so long
            stream.close()
            return
        try:
            stream.start()
        except BaseException:
            stream.close()
            raise

    def join(self, on_sound: OnSound, on_problem: OnProblem) -> _Listener:
        """Listen as well.

        Raises:
            EngineUnavailableError: It has failed already.
        """
        if self._is_over:
            raise EngineUnavailableError(self._problem)
        if self._watcher is None:
            self._last_s = monotonic_s()
            self._watcher = self._loop.call_later(SILENT_S / 3, self._look)
        listener = _Listener(self, on_sound, on_problem)
        self._listeners.append(listener)
        return listener

    async def leave(self, listener: _Listener) -> None:
        """Listen no more; the last one closes the device, of a device that has failed the first one."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        if self._is_over or not self._listeners:
            await self.close()

    async def close(self) -> None:
        """Free the device."""
        self._is_over = True
        self._forget(self)
        if self._watcher is not None:
            self._watcher.cancel()
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                await self._threads.run(stream.close, CLOSE_PATIENCE_S)
            except EngineUnavailableError as error:
                logger.info("%s is not closed: %s", self._title, error.message)

    def _stream_at(self, rate_hz: int) -> portaudio.InputStream:
        return portaudio.InputStream(self._device, rate_hz, self._handover.put, self._ended)

    def _ended(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
            self._loop.call_soon_threadsafe(self._fail, "stopped: it was pulled out or taken away")

    def _arrive(self, sound: bytes) -> None:
        self._last_s = monotonic_s()
        if self._stream is None or self._is_over:
            return
        pcm = self._stream.mono(sound)
        for listener in tuple(self._listeners):
            listener.on_sound(pcm)

    def _look(self) -> None:
        """Notice a device that falls silent for good."""
        if monotonic_s() - self._last_s > SILENT_S:
            self._fail("gives no sound any more: it was pulled out, or the sound system hangs")
        elif not self._is_over:
            self._watcher = self._loop.call_later(SILENT_S / 3, self._look)

    def _fail(self, what: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._forget(self)
        self._problem = f"{self._title} {what}. Plug it in again, or choose another one."
        for listener in tuple(self._listeners):
            listener.on_problem(self._problem)


class _Listener:
    """One who listens to a device."""

    def __init__(self, device: _Device, on_sound: OnSound, on_problem: OnProblem) -> None:
        self.rate_hz = device.rate_hz
        self.device = device.name
        self.on_sound = on_sound
        self.on_problem = on_problem
        self._device = device

    async def close(self) -> None:
        """See `Microphone`."""
        await self._device.leave(self)


class AnnouncedMicrophones:
    """Microphones of which somebody is told while one of them is open.

    Args:
        there: Where they are.
        opened: Called when one is about to be opened.
        closed: Called when it was closed, or could not be opened; as often as ``opened``.
    """

    def __init__(
        self, there: Microphones, opened: Callable[[], None], closed: Callable[[], None]
    ) -> None:
        self._there = there
        self._opened = opened
        self._closed = closed

    async def listed(self) -> list[InputDevice]:
        """See `Microphones`."""
        return await self._there.listed()

    async def open(self, name: str, on_sound: OnSound, on_problem: OnProblem) -> Microphone:
        """See `Microphones`."""
        self._opened()
        try:
            return _Announced(await self._there.open(name, on_sound, on_problem), self._closed)
        except BaseException:
            self._closed()
            raise

    async def has_moved(self, microphone: Microphone) -> bool:
        """See `Microphones`."""
        return await self._there.has_moved(microphone)


class _Announced:
    def __init__(self, microphone: Microphone, closed: Callable[[], None]) -> None:
        self.rate_hz = microphone.rate_hz
        self.device = microphone.device
        self._microphone = microphone
        self._closed = closed
        self._is_closed = False

    async def close(self) -> None:
        """See `Microphone`."""
        try:
            await self._microphone.close()
        finally:
            if not self._is_closed:
                self._is_closed = True
                self._closed()


class FileMicrophones:
    """A sound file that plays the microphone: to try everything out without one.

    Args:
        path: Mono 16-bit WAV; read anew at every opening.
        speed: How much faster than a real microphone it is.
        is_repeated: Whether it begins again at its end, as somebody who reads sentence after sentence; else silence
            follows, as of somebody who waits for an answer.
    """

    def __init__(self, path: Path, speed: float = 1.0, *, is_repeated: bool = True) -> None:
        self._path = path
        self._speed = speed
        self._is_repeated = is_repeated

    async def listed(self) -> list[InputDevice]:
        """See `Microphones`."""
        return [InputDevice(self._path.name, True, "file")]

    async def open(self, name: str, on_sound: OnSound, on_problem: OnProblem) -> Microphone:
        """See `Microphones`."""
        if name not in ("", self._path.name):
            raise EngineUnavailableError(
                f"The microphone {name!r} is not there; there is: {self._path.name}."
            )
        try:
            pcm, rate_hz = read_wav(await asyncio.to_thread(self._path.read_bytes))
        except (OSError, ValueError) as error:
            raise EngineUnavailableError(
                f"The file {self._path} cannot play the microphone: {error}"
            ) from error
        return _Playing(
            self._path.name,
            pcm,
            rate_hz,
            on_sound,
            speed=self._speed,
            is_repeated=self._is_repeated,
        )

    async def has_moved(self, microphone: Microphone) -> bool:
        """See `Microphones`."""
        return False


class _Playing:
    def __init__(
        self,
        device: str,
        pcm: bytes,
        rate_hz: int,
        on_sound: OnSound,
        *,
        speed: float,
        is_repeated: bool,
    ) -> None:
        self.rate_hz = rate_hz
        self.device = device
        self._over = threading.Event()
        self._on_sound = on_sound
        self._handover = _Handover(self._arrive)
        self._thread = threading.Thread(
            target=self._run, args=(pcm, speed, is_repeated), name="file microphone", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """See `Microphone`."""
        self._over.set()
        await asyncio.to_thread(self._thread.join, 2)

    def _run(self, pcm: bytes, speed: float, is_repeated: bool) -> None:
        size = 2 * round(self.rate_hz * PIECE_S)
        silence = bytes(size)
        position, sent, start_s = 0, 0, monotonic_s()
        while not self._over.is_set():
            if position >= len(pcm) and is_repeated:
                position = 0
            piece = pcm[position : position + size] or silence
            position += size
            self._handover.put(piece)
            sent += 1
            self._over.wait(max(0.0, start_s + sent * PIECE_S / speed - monotonic_s()))

    def _arrive(self, piece: bytes) -> None:
        if not self._over.is_set():
            self._on_sound(piece)
