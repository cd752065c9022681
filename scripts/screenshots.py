"""Pictures of the window for the docs: all tabs, dark and light, at 100 % and 200 %, into docs/screenshots/.

Starts a real backend in a child process with a data folder of its own (built-in persona, embedded voice), says a few
scripted sentences, makes clips of sentences that the embedded voice speaks, and photographs the real window.

    xvfb-run -s "-screen 0 2560x1600x24" python scripts/screenshots.py [--out docs/screenshots] [--tabs chat,logs] [--sound]

With --sound she speaks: an overlay page that this script stands in for plays her, and the chat is photographed in mid-sentence.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import tkinter as tk
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageGrab
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from frontend.client import BackendClient
from frontend.gui import MainWindow
from frontend.mode_window import ModeWindow
from frontend.on_demand_window import OnDemandWindow
from frontend.rules_window import RulesWindow
from frontend.sound_window import SoundWindow
from frontend.theme import DARK, LIGHT, rgb
from frontend.twitch_window import TwitchWindow
from frontend.window_state import write_state

TABS = (
    "chat",
    "voice",
    "voices",
    "stage",
    "stream",
    "logs",
    "status",
    "sound",
    "modes",
    "text",
    "twitch",
    "rules",
)
PAGES = {"voice": "train", "voices": "voices"}
"""Pictures that are pages of the Voice tab."""
READ_ALOUD = (
    "The lantern refused to go out, so we named it Gregory.",
    "Every fox knows a shortcut home, and none of them will tell.",
    "Why would a kettle hold a grudge against a spoon?",
    "Seven purple umbrellas, all of them lost on the same Thursday.",
    "Welcome in, raiders! Take a cushion and mind the cat.",
    "She sells sea shells by the shore, or so the gulls have claimed.",
    "Thank you for the twelve months, you absolute lighthouse.",
    "The moon looked tired, so we let it sleep behind the clouds.",
    "Please do not feed the dragon after nine in the evening.",
    "I counted every star twice and got two different numbers.",
)
"""Sentences for the clips; made by a machine, so nobody has to agree."""
SIZE = (1280, 800)
LARGEST_BYTES = 200_000
CONVERSATION = (
    "Good evening! My name is Mika. What did you do while I was away?",
    "おはよう means good morning, right? But it is evening now.",
    "What do you think of lighthouses?",
    "Tell us a very short ghost story, and make the ending cosy, please.",
)

LAST_WORDS = "Tell me a story about the lighthouse."
CHANNEL = "mika_live"
TWITCH_SETTINGS = 8  # lines that the local Twitch prints when it is ready
VIEWERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("pixelpanda", {}),
    ("nori_roll", {"badges": ["subscriber/6"]}),
    ("Modgrave", {"badges": ["moderator/1"]}),
    ("moss", {"badges": ["subscriber/12"]}),
    ("Kaede", {"is_first": True}),
    ("ossi", {"bits": 500}),
    ("lumen", {}),
    ("Yuzu", {}),
    ("bitrot", {"badges": ["vip/1"]}),
    ("lars", {}),
)
LINES = (
    "how do foxes even type?",
    "is the kettle okay after Tuesday?",
    "!expression joy",
    "first time here, hi! love the voice \U0001f98a",
    "tell us the lantern story again?",
    "cheap followers at example.com/followers",
    "\u30db\u30b7\u3061\u3083\u3093\u3001\u304a\u306f\u3088\u3046\uff01",
    "SAY MY NAME SAY MY NAME SAY MY NAME",
    "my number is +1 202 555 0123, call me",
    "the lip sync is so good now",
    "what game is next?",
    "greetings from the north",
    "does she dream of lighthouses?",
)
"""Thirteen lines and ten viewers: nobody writes the same twice while the pictures are made."""


@contextmanager
def heard(url: str, token: str, *, sound: bool) -> Iterator[None]:
    """She is played by an overlay that nobody hears, or by nothing."""
    headers = {"Authorization": f"Bearer {token}"}
    values = {"AUDIO_SINK": "overlay" if sound else "none"}
    httpx.post(
        f"{url}/api/config", json={"values": values}, headers=headers, trust_env=False
    ).raise_for_status()
    if not sound:
        yield
        return
    with connect(
        url.replace("http", "ws", 1) + "/ws", additional_headers=headers, proxy=None
    ) as page:
        page.send(json.dumps({"hello": {"types": ["playback.*"], "plays": True}}))
        stop = threading.Event()

        def read() -> None:
            with suppress(ConnectionClosed):
                while not stop.is_set():
                    page.recv()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        yield
        stop.set()
    reader.join(5)


class Audience:
    """Twitch on this machine, and people who write there."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.twitch", "--port", "0", "--channel", CHANNEL],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        lines = [self._process.stdout.readline().strip() for _ in range(TWITCH_SETTINGS)]
        self.settings = dict(line.split("=", 1) for line in lines)
        """For the backend's environment."""
        self._written = 0

    def write(self, count: int) -> None:
        """So many messages."""
        url = f"{self.settings['TWITCH_OAUTH_URL']}control/chat"
        for _ in range(count):
            number = self._written
            self._written += 1
            login, more = VIEWERS[number % len(VIEWERS)]
            body = {
                "login": login.lower(),
                "name": login,
                "text": LINES[number % len(LINES)],
                "channel": CHANNEL,
                **more,
            }
            httpx.post(url, json=body, trust_env=False).raise_for_status()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)


@contextmanager
def backend(folder: Path, settings: dict[str, str]) -> Iterator[tuple[str, str]]:
    """A backend in a child process: its address and token."""
    process = subprocess.Popen(
        [sys.executable, "main.py", "--headless", "--port", "0", "--data-dir", str(folder)],
        cwd=ROOT,
        env={
            **os.environ,  # noqa: TID251  for the child
            "LOGS_DIR": str(folder / "logs"),
            "MODELS_DIR": str(folder / "models"),
            **settings,
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        wait((folder / "backend.json").exists, 30, "the backend did not start")
        url = json.loads((folder / "backend.json").read_text(encoding="utf-8"))["url"]
        yield url, (folder / "api_token").read_text(encoding="utf-8").strip()
    finally:
        process.terminate()
        process.wait(10)


def wait(true: Callable[[], bool], limit_s: float, words: str) -> None:
    """Wait for a condition; ends the program with the words when it does not come."""
    end = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > end:
            raise SystemExit(words)
        time.sleep(0.05)


def prepare_clips(url: str, token: str, folder: Path) -> None:
    """Make a speaker with clips and a doctor's report, out of sentences that the embedded voice speaks."""
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=120, trust_env=False
    ) as api:

        def ask(method: str, path: str, **options: Any) -> Any:
            answer = api.request(method, f"/api/{path}", **options)
            answer.raise_for_status()
            return answer.json()

        speaker = ask(
            "POST", "voice/speakers", json={"name": "Aster", "language": "en-us", "synthetic": True}
        )["id"]
        names = [folder / f"aster {number:02d}.wav" for number in range(1, 1 + len(READ_ALOUD))]
        for name, text in zip(names, READ_ALOUD, strict=True):
            spoken = ask("POST", "tts", json={"text": text, "voice": "embedded/en-us+f3"})
            name.write_bytes(api.get(spoken["url"]).raise_for_status().content)
        words = folder / "metadata.csv"
        lines = (f"{name.stem}|{text}" for name, text in zip(names, READ_ALOUD, strict=True))
        words.write_text("\n".join(lines) + "\n", encoding="utf-8")
        files = [("files", (path.name, path.read_bytes())) for path in (*names, words)]
        sent = ask("POST", "voice/upload", files=files, data={"speaker": speaker})
        for path, body in (
            ("voice/process", {"upload_ids": sent["upload_ids"], "speaker": speaker}),
            ("voice/doctor", {"speaker": speaker}),
        ):
            job = ask("POST", path, json=body)["job_id"]

            def ended(job: str = job) -> bool:
                return ask("GET", f"voice/jobs/{job}")["state"] in ("done", "failed", "cancelled")

            wait(ended, 180, f"{path} did not end")


class Photographer:
    """One window at one theme and scale."""

    def __init__(self, url: str, token: str, state: Path, audience: Audience | None = None) -> None:
        self.audience = audience
        self.client = BackendClient(url, token)
        self.window = MainWindow(self.client, state)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Let the window work for a while, or until something is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (until is not None and until()):
            self.window.root.update()
            time.sleep(0.01)

    def ready(self) -> bool:
        """Whether the first things have arrived."""
        return self.window.stage.character is not None and bool(self.window.stage.settings)

    def say(self, text: str) -> None:
        """Say something and wait for the end of the reply."""
        chat: Any = self.window.tabs["chat"]
        before = sum(m.outcome != "" for m in chat.view.messages.values())
        chat.composer.put(text)
        chat.composer.submit()
        self.run(60, lambda: sum(m.outcome != "" for m in chat.view.messages.values()) > before)

    def begin(self, text: str) -> None:
        """Say something and wait until the reply is heard, not until it has ended."""
        chat: Any = self.window.tabs["chat"]
        chat.composer.put(text)
        chat.composer.submit()
        self.run(1.5)

    def stop(self) -> None:
        """Let her fall silent."""
        self.client.post("/api/conversations/stage/interrupt", {})
        self.run(0.5)

    def picture(self, tab: str, file: Path, size: tuple[int, int], *, sound: bool = False) -> int:
        """Show a tab, or a window of its own, and save it; the file's size in bytes."""
        if tab == "sound":
            return self.window_picture(SoundWindow.open(self.window), file)
        if tab == "modes":
            modes = ModeWindow.open(self.window)
            modes.cards["autonomous"].unfold()
            return self.window_picture(modes, file)
        if tab == "text":
            return self.text_picture(file)
        if tab == "twitch":
            return self.window_picture(TwitchWindow.open(self.window), file)
        if tab == "rules":
            return self.window_picture(RulesWindow.open(self.window, "moderation"), file)
        page = PAGES.get(tab)
        self.window.show_tab("voice" if page else tab)
        if page:
            voice: Any = self.window.tabs["voice"]
            voice.show_page(page)
            self.run(0.5)
            if page == "train":
                voice.train.cockpit.look_at("doctor")
        if sound and tab == "chat":
            self.begin(LAST_WORDS)
        if tab == "stage":
            self.perform(sound=sound)
        if tab == "logs":
            self.window.root.focus_set()
        if tab == "stream":
            self.stream()
        self.run(2.5)
        image = grab(self.window.root, size)
        if sound and tab in ("chat", "stage"):
            self.stop()
        return save(image, file)

    def stream(self) -> None:
        """Let people write, and her act unasked."""
        known = self.window.audience
        if known.channel is None or known.channel.state != "joined":
            known.connect(CHANNEL, anonymous=False, then=lambda: None, failed=self.window.fail)
            known.switch_autonomy(True)
            self.run(10, lambda: known.channel is not None and known.channel.state == "joined")
        for _ in range(9):
            assert self.audience is not None
            self.audience.write(2)
            self.run(0.9)
        stream: Any = self.window.tabs["stream"]
        stream.autonomy.dry_run()

    def perform(self, *, sound: bool) -> None:
        """Let several want something of the avatar at once, so that the timeline has something to tell."""
        if sound:
            self.begin(LAST_WORDS)
        for face, ms, priority in (("joy", 20_000, 0), ("surprised", 3_000, 50)):
            self.ask("expression", expression_id=face, duration=ms, priority=priority)
            self.run(1.2)
        for motion, loop in (("dance", True), ("wave", False), ("nod", False)):
            self.ask("motion", motion=motion, loop=loop)
            self.run(0.8)
        self.ask("motion", motion="somersault")
        self.run(5)

    def ask(self, what: str, **body: object) -> None:
        """A request as a script makes it; what is refused is a line of the timeline too."""
        self.client.post(f"/api/{what}", body)

    def text_picture(self, file: Path) -> int:
        """Text on demand, with a greeting; the file's size in bytes."""
        window = OnDemandWindow.open(self.window)
        window.prompt.set("Kaede, who is here for the first time")
        window.about.set("Lighthouse night")
        window.greet()
        self.run(10, lambda: not window.is_writing)
        return self.window_picture(window, file)

    def window_picture(
        self,
        window: SoundWindow | ModeWindow | OnDemandWindow | TwitchWindow | RulesWindow,
        file: Path,
    ) -> int:
        """A window of its own; the file's size in bytes."""
        self.run(2.5)
        image = grab(window, (window.winfo_width(), window.winfo_height()))
        window.close()
        return save(image, file)


def grab(window: tk.Misc, size: tuple[int, int]) -> Image.Image:
    """What a window shows."""
    left, top = window.winfo_rootx(), window.winfo_rooty()
    box = (left, top, left + size[0], top + size[1])
    linux = sys.platform.startswith("linux")
    return ImageGrab.grab(bbox=box, xdisplay="") if linux else ImageGrab.grab(bbox=box)


def save(image: Image.Image, file: Path) -> int:
    """Save as small as it must be: full colours first, then a palette that keeps the theme's own colours as they are."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, optimize=True)
    for colours in (256, 160, 96):
        if file.stat().st_size < LARGEST_BYTES:
            break
        own = {rgb(colour) for palette in (DARK, LIGHT) for colour in palette.values()}
        found = image.quantize(colours - len(own), dither=Image.Dither.NONE).getpalette() or []
        chosen = Image.new("P", (1, 1))
        chosen.putpalette([part for colour in sorted(own) for part in colour] + found)
        image.quantize(palette=chosen, dither=Image.Dither.NONE).save(file, optimize=True)
    return file.stat().st_size


def main() -> int:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument("--tabs", default=",".join(TABS))
    parser.add_argument("--sound", action="store_true", help="speak for real")
    words = parser.parse_args()
    tabs = [name for name in words.tabs.split(",") if name in TABS]
    audience = Audience()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            data = Path(folder)
            with (
                backend(data, audience.settings) as (url, token),
                heard(url, token, sound=words.sound),
            ):
                talked = False
                if "voice" in tabs:
                    prepare_clips(url, token, data)
                for theme in ("dark", "light"):
                    for scale in (1.0, 2.0):
                        size = (round(SIZE[0] * scale), round(SIZE[1] * scale))
                        state = data / f"window-{theme}-{scale:g}.json"
                        write_state(
                            state,
                            {"theme": theme, "scale": scale, "size": list(size), "place": [0, 0]},
                        )
                        photographer = Photographer(url, token, state, audience)
                        try:
                            photographer.run(10, photographer.ready)
                            if not talked:
                                for sentence in CONVERSATION:
                                    photographer.say(sentence)
                                talked = True
                            photographer.run(1.5)
                            for tab in tabs:
                                file = words.out / f"{tab}-{theme}-{round(scale * 100)}.png"
                                size_bytes = photographer.picture(
                                    tab, file, size, sound=words.sound
                                )
                                print(f"{file.name:24} {size_bytes / 1000:6.0f} kB")
                        finally:
                            photographer.window.close()
    finally:
        audience.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
