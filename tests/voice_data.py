"""The data of voices without a server: a real database, real files, a cutter that takes milliseconds."""

from __future__ import annotations

import asyncio
import math
import sys
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.audio.wav import to_wav
from backend.clients.microphone import FileMicrophones
from backend.contracts.entities import Audio, Transcript
from backend.contracts.errors import EngineUnavailableError
from backend.core.bus import EventBus
from backend.core.workers import EngineHost, clean_environment
from backend.storage.database import Database
from backend.training.clips import Made
from backend.training.jobs import Jobs, Options
from backend.training.uploads import Label
from backend.training.voice_data import VoiceData

CUTTER = (sys.executable, "-m", "tests.fake_cutter")
RATE_HZ = 22_050
UPLOAD_BYTES = 64 << 20


@dataclass
class Studio:
    """Everything that is open.

    Attributes:
        notices: What opening said.
    """

    data: VoiceData
    bus: EventBus
    jobs: Jobs
    database: Database
    folder: Path
    notices: list[str]

    @property
    def training(self) -> Path:
        return self.folder / "training"

    @property
    def sounds(self) -> dict[str, bytes]:
        """Every file of a clip."""
        return {path.name: path.read_bytes() for path in (self.training / "clips").glob("*.wav")}

    async def upload(self, sound: bytes, filename: str = "take.wav", **label: str) -> str:
        incoming = self.data.uploads.receive(filename)
        incoming.write(sound)
        incoming.close()
        taken = await self.data.uploads.take(incoming, Label(**{"speaker": "ann", **label}))
        assert not taken.problem, taken.problem
        return taken.id

    async def clip(self, uid: str, **fields: Any) -> int:
        """A clip that the trainer hands over."""
        folder = self.folder / "jobs" / "process-0"
        folder.mkdir(parents=True, exist_ok=True)
        seconds = float(fields.get("duration_s", 1.0))
        if "path" not in fields:
            (folder / f"{uid}.wav").write_bytes(tone(seconds, 200 + len(uid)))
        values: dict[str, Any] = {
            "uid": uid,
            "path": folder / f"{uid}.wav",
            "upload_id": "",
            "source": "take.wav",
            "start_s": 0.0,
            "end_s": seconds,
            "duration_s": seconds,
            "text": f"the words of {uid}",
            "text_from": "import",
            "speaker": "ann",
            "emotion": "",
            "language": "en-us",
            "grade": "A",
            "reasons": (),
            "measures": {"snr_db": 30.0},
        }
        row = await self.data.clips.arrive(Made(**(values | fields)), "process-0")
        assert row is not None
        assert row.id is not None
        return row.id


async def nobody_hears(audio: Audio, language: str) -> Transcript:
    raise EngineUnavailableError("There is no recogniser in this test.")


@asynccontextmanager
async def studio(folder: Path) -> AsyncIterator[Studio]:
    """Open, with a machine called Ann as speaker; close at the end."""
    bus = EventBus()
    bus.bind(asyncio.get_running_loop())
    database = Database("", folder)
    host = EngineHost()
    await database.open()
    options = Options(
        folder=folder / "jobs",
        environment=clean_environment(),
        program=CUTTER,
        poll_s=0.02,
        quiet_s=0.05,
    )
    jobs = Jobs(database, bus, options)
    data = VoiceData(
        bus,
        database,
        host,
        jobs,
        folder / "training",
        hear=nobody_hears,
        microphones=FileMicrophones(folder / "microphone.wav"),
        upload_bytes=UPLOAD_BYTES,
    )
    try:
        notices = await data.open()
        if data.speakers.find("ann") is None:
            await data.speakers.add("Ann", "en-us", synthetic=True)
        await jobs.open()
        yield Studio(data, bus, jobs, database, folder, notices)
    finally:
        await jobs.close()
        await data.close()
        await host.stop()
        await database.close()


def tone(seconds: float, hz: float = 220.0) -> bytes:
    """A tone in syllables, as WAV."""
    step = 2 * math.pi / RATE_HZ
    samples = array(
        "h",
        (
            int(5000 * (1 - math.cos(4 * step * n)) * math.sin(hz * step * n))
            for n in range(round(seconds * RATE_HZ))
        ),
    )
    return to_wav(samples.tobytes(), RATE_HZ)
