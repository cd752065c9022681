"""A sound server of the tests' own: PulseAudio with a device nobody hears, and a recorder of what would be heard."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 10.0
RATE_HZ = 22_050
LOUD = 64


def missing() -> str:
    """What is not installed, empty when all is there."""
    return ", ".join(name for name in ("pulseaudio", "pactl", "parec") if not shutil.which(name))


class VirtualSound:
    """Runs a private sound server while the ``with`` block lasts.

    Attributes:
        server: For the environment variable PULSE_SERVER.
        alsa: For the environment variable ALSA_CONFIG_PATH: PortAudio sees the devices "stage" and "other".
    """

    def __init__(self) -> None:
        # A socket's path must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="sound"))
        self.server = f"unix:{self._folder / 'sock'}"
        self.alsa = self._folder / "asound.conf"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> VirtualSound:
        devices = "".join(
            f'pcm.{name} {{ type pulse server "{self.server}" device {device} '
            f'hint {{ show on description "{name}" }} }}\n'
            for name, device in (("!default", "stage"), ("stage", "stage"), ("other", "other"))
        )
        self.alsa.write_text(devices)
        (self._folder / "start.pa").write_text(
            f"load-module module-native-protocol-unix socket={self._folder / 'sock'} auth-anonymous=1\n"
            f"load-module module-null-sink sink_name=stage rate={RATE_HZ} channels=1 format=s16le\n"
            f"load-module module-null-sink sink_name=other rate={RATE_HZ} channels=1 format=s16le\n"
            "set-default-sink stage\n"
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        home = {
            "HOME": str(self._folder),
            "XDG_RUNTIME_DIR": str(self._folder),
            "PULSE_RUNTIME_PATH": str(self._folder / "run"),
        }
        self._process = subprocess.Popen(
            "pulseaudio -n --daemonize=no --exit-idle-time=-1 --use-pid-file=no --disable-shm=yes"
            f" -F {self._folder / 'start.pa'}".split(),
            env=dict(os.environ, **home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end_s = time.monotonic() + PATIENCE_S
        while self.ask("info").returncode != 0:
            assert time.monotonic() < end_s, "PulseAudio does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """As when the device is unplugged: every stream breaks."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None

    def freeze(self) -> None:
        """As when the sound system hangs: everything that asks it waits."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """A command of pactl."""
        return subprocess.run(
            ["pactl", "--server", self.server, *words], capture_output=True, check=False, timeout=10
        )

    def add_room(self) -> None:
        """A room to speak in: the microphone "headset" hears what is played on "room", "desk" what the loudspeaker plays."""
        self.ask(
            "load-module", "module-null-sink", "sink_name=room", "rate=48000", "channels=1",
            "format=s16le",
        )  # fmt: skip
        with self.alsa.open("a") as config:
            for name, device in (("headset", "room"), ("desk", "stage")):
                config.write(
                    f'pcm.{name} {{ type pulse server "{self.server}" device {device}.monitor '
                    f'hint {{ show on description "{name}" }} }}\n'
                )

    def say(self, pcm: bytes, rate_hz: int, device: str = "room") -> subprocess.Popen[bytes]:
        """Play PCM16 mono on a device; the process ends with the sound."""
        process = subprocess.Popen(
            f"pacat --playback --server {self.server} -d {device} --raw --format=s16le --channels=1"
            f" --rate={rate_hz} --latency-msec=500".split(),
            stdin=subprocess.PIPE,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(pcm)
            process.stdin.close()
        except OSError:  # the device was taken away in the middle of it
            with suppress(OSError):  # what is left in it cannot go either
                process.stdin.close()
            process.kill()
            process.wait()
            raise
        return process

    def recorder(self, device: str = "stage") -> Recorder:
        """Listens to a device from now on."""
        return Recorder(self.server, device)


class Recorder:
    """What a device plays, with the time at which each piece of it came.

    Attributes:
        pieces: Time (monotonic, s) and samples.
    """

    def __init__(self, server: str, device: str) -> None:
        self._process = subprocess.Popen(
            f"parec --server {server} --raw -d {device}.monitor --format=s16le --channels=1"
            f" --rate={RATE_HZ} --latency-msec=2 --process-time-msec=2".split(),
            stdout=subprocess.PIPE,
        )
        self.pieces: list[tuple[float, array[int]]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        self._thread.join(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        while data := os.read(self._process.stdout.fileno(), 8192):
            data = rest + data
            even = len(data) // 2 * 2
            rest = data[even:]
            self.pieces.append((time.monotonic(), array("h", data[:even])))

    def wait_for(self, is_true: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Wait until a condition about what was recorded holds."""
        end_s = time.monotonic() + timeout_s
        while not is_true():
            assert time.monotonic() < end_s, "it was never heard"
            time.sleep(0.002)

    def wait_for_silence(self, seconds: float = 0.3) -> None:
        """Wait until nothing was heard for some time."""
        start_s = time.monotonic()
        self.wait_for(
            lambda: (
                bool(self.pieces) and self.pieces[-1][0] - max(self.last_loud_s, start_s) > seconds
            )
        )

    @property
    def last_loud_s(self) -> float:
        """When something was heard last; 0 = never."""
        return self.last_louder_s(LOUD)

    @property
    def first_loud_s(self) -> float:
        """When the first sample that was heard came, by the end of its piece; infinite = never."""
        for at_s, piece in self.pieces:
            for n, value in enumerate(piece):
                if abs(value) > LOUD:
                    return at_s - (len(piece) - n) / RATE_HZ
        return float("inf")

    def last_louder_s(self, peak: int) -> float:
        """When something louder was heard last; 0 = never."""
        return max((at for at, piece in self.pieces if _peak(piece) > peak), default=0.0)

    def forget(self) -> None:
        """Begin anew."""
        self.pieces = self.pieces[-1:]

    @property
    def samples(self) -> array[int]:
        """Everything since the beginning."""
        all_of_it = array("h")
        for _, piece in self.pieces:
            all_of_it += piece
        return all_of_it

    @property
    def sound(self) -> array[int]:
        """From the first sample that is not silence to the last."""
        samples = self.samples
        heard = [index for index, value in enumerate(samples) if abs(value) > 2]
        return samples[heard[0] : heard[-1] + 1] if heard else array("h")


def _peak(piece: array[int]) -> int:
    return max(max(piece, default=0), -min(piece, default=0))


def silences(samples: array[int]) -> Iterator[int]:
    """Lengths in samples of the stretches of silence inside."""
    run = 0
    for value in samples:
        if abs(value) <= 2:
            run += 1
        else:
            if run > 8:
                yield run
            run = 0
