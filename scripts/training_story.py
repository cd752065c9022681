"""The whole path of a voice as pictures: recordings come in, become clips, are examined, train a voice, and she speaks with it.

Drives the real window over a real backend and a real training. Nobody's recordings are needed: the "speaker" is the
embedded engine with a timbre, a pitch and a pace of its own, reading the sentences of the guided recording.

    xvfb-run -s "-screen 0 2560x1600x24" python scripts/training_story.py [--out docs/screenshots/training] [--seconds 60]
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import ImageGrab

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from backend.audio import espeak
from backend.audio.wav import to_wav
from frontend.tabs.train import TrainPage
from frontend.window_state import write_state
from scripts.screenshots import SIZE, Photographer, backend, save
from voice_trainer.protocol import read_prompts

LANGUAGE = "en-us"
TIMBRE, PITCH, PACE = "en-us+f5", 62, 155
SPEAKER = "Mika"
LONG_S = 900.0
LAST_WORDS = "Say something with your new voice!"


def make_recordings(folder: Path, sentences: int) -> list[Path]:
    """WAV files of somebody reading, and the list of what is read."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(3)  # noqa: S311  no secret hangs on it
    lines, files = [], []
    for number, text in enumerate(read_prompts(LANGUAGE)[:sentences], start=1):
        spoken = espeak.synthesize(
            text, TIMBRE, words_per_minute=PACE + chance.randint(-8, 8), pitch=PITCH + chance.randint(-3, 3)
        )  # fmt: skip
        file = folder / f"take {number:03d}.wav"
        room = bytes(round(spoken.rate_hz * 0.3) * 2)
        file.write_bytes(to_wav(room + spoken.pcm + room, spoken.rate_hz))
        lines.append(f"{file.stem}|{text}")
        files.append(file)
    listing = folder / "metadata.csv"
    listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [*files, listing]


class Story:
    """Drives the window from step to step and photographs it."""

    def __init__(self, photographer: Photographer, out: Path) -> None:
        self.photographer = photographer
        self.out = out
        self.count = 0
        window: Any = photographer.window
        window.show_tab("voice")
        photographer.run(1.0)
        self.page: TrainPage = window.tabs["voice"].train

    def wait(self, what: str, true: Any, limit_s: float = 60.0) -> None:
        """Let the window work until something is so."""
        self.photographer.run(limit_s, true)
        if not true():
            jobs = [(job.kind, job.state, job.message) for job in self.page.cockpit.jobs]
            trouble = self.page.training.form.trouble
            raise SystemExit(
                f"This did not happen within {limit_s:.0f} s: {what}. {trouble} Jobs: {jobs}"
            )

    def picture(self, name: str, seconds: float = 0.8) -> None:
        """Photograph the window."""
        self.photographer.run(seconds)
        root = self.photographer.window.root
        left, top = root.winfo_rootx(), root.winfo_rooty()
        linux = sys.platform.startswith("linux")
        box = (left, top, left + SIZE[0], top + SIZE[1])
        image = ImageGrab.grab(bbox=box, xdisplay="") if linux else ImageGrab.grab(bbox=box)
        self.count += 1
        file = self.out / f"{self.count:02d}-{name}.png"
        print(f"{file.name:28} {save(image, file) / 1000:6.0f} kB", flush=True)

    def next_step(self) -> str:
        """Press the wizard's filled button; returns its words."""
        wizard = self.page.wizard
        wizard.repaint()
        label = wizard.plan.label
        wizard.invoke("next")
        return label

    def tell(self, files: list[Path], seconds: float) -> None:
        """The whole story."""
        page, cockpit = self.page, self.page.cockpit
        self.picture("nobody-yet")
        self.next_step()
        self.photographer.run(0.5)
        page.form.name.set(SPEAKER)
        page.form.machine.invoke()
        self.picture("whose-voice")
        page.form.save()
        self.wait("the speaker is there", lambda: cockpit.speaker is not None)
        self.wait("the form is closed", lambda: not page.is_form_open)
        self.picture("no-clips-yet")
        page.bring_in(files)
        self.photographer.run(1.0)
        self.picture("files-come-in", 0.1)
        self.wait("the files have come", lambda: len(cockpit.uploads) >= len(files))
        if cockpit.running("process") is None and not cockpit.jobs_of("process"):
            self.next_step()
        self.wait("clips are being made", lambda: bool(cockpit.jobs_of("process")))
        self.picture("clips-are-made", 1.5)
        self.wait("the clips are there", lambda: cockpit.running("process") is None, 300)
        self.wait("clips are accepted", self.has_clips)
        page.table.rows.focus_quietly()
        self.picture("review", 2.0)
        self.wait("the doctor is next", lambda: self.label() == "Examine the clips")
        self.next_step()
        self.wait("the doctor has spoken", lambda: cockpit.report is not None, 120)
        self.picture("doctor", 1.5)
        if self.label() != "Train the voice":
            self.next_step()
            self.photographer.run(0.5)
        self.next_step()
        self.photographer.run(0.5)
        self.picture("what-to-train")
        self.train(seconds)

    def train(self, seconds: float) -> None:
        """Training, listening, using."""
        page, cockpit = self.page, self.page.cockpit
        form = page.training.form
        form.length.choices[0] = type(form.length.choices[0])(
            str(seconds), f"{seconds:.0f} seconds"
        )
        form.length.set(str(seconds))
        if form.giving.on:
            form.giving.invoke()  # she gets it after it was heard
        form.start()
        self.wait("it trains", lambda: self.state() == "train", 60)
        self.wait("a quarter is done", lambda: (self.job().progress or 0) > 0.25, LONG_S)
        self.picture("training")
        self.wait("it can be heard", lambda: bool(cockpit.best), LONG_S)
        self.wait("three quarters are done", lambda: (self.job().progress or 0) > 0.75, LONG_S)
        page.training.invoke("view:sound")
        self.picture("hear-it-getting-better", 2.0)
        page.training.invoke("view:curve")
        self.wait("the voice is verified", lambda: self.state() == "done", LONG_S)
        self.picture("done", 2.0)
        self.next_step()
        self.photographer.run(1.0)
        page.checkpoints.compare()
        page.checkpoints.hear("first")
        self.photographer.run(4.0)
        page.checkpoints.hear("second")
        self.picture("blind-comparison", 4.0)
        page.checkpoints.prefer("second")
        self.picture("what-was-preferred")
        page.checkpoints.compare()
        cockpit.look_at("use")
        self.picture("the-voice", 1.5)
        page.give_and_talk()
        self.wait("she has it", lambda: cockpit.is_given, 20)
        self.photographer.run(1.0)
        self.photographer.say(LAST_WORDS)
        self.picture("she-speaks-with-it", 1.0)

    def job(self) -> Any:
        """The training."""
        job = self.page.cockpit.training
        if job is not None and job.state in ("failed", "interrupted"):
            raise SystemExit(f"The training {job.state}: {job.message}")
        return job

    def state(self) -> str:
        """How far it is."""
        job = self.job()
        return job.state if job is not None else ""

    def label(self) -> str:
        """What the filled button says."""
        self.page.wizard.repaint()
        return self.page.wizard.plan.label

    def has_clips(self) -> bool:
        """Whether there are clips to train on."""
        speaker = self.page.cockpit.speaker
        return speaker is not None and speaker.accepted > 0


def main() -> int:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots" / "training")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to train")
    parser.add_argument("--sentences", type=int, default=40, help="how many recordings")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = Path(folder)
        files = make_recordings(data / "recordings", words.sentences)
        with backend(data / "data", {"AUDIO_SINK": "none"}) as (url, token):
            state = data / "window.json"
            write_state(
                state, {"theme": words.theme, "scale": 1.0, "size": [*SIZE], "place": [0, 0]}
            )
            photographer = Photographer(url, token, state)
            try:
                photographer.run(10, photographer.ready)
                Story(photographer, words.out).tell(files, words.seconds)
            finally:
                photographer.window.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
