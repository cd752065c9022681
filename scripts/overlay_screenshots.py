"""Pictures of the overlay for the docs, photographed in Chromium: python scripts/overlay_screenshots.py [--out docs/screenshots].

A real backend with a data folder of its own and no sound device; the pages are those that OBS shows, on a plain ground instead
of a game.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.conftest import FLAGS, chromium

CAST = ("hoshi", "nemu", "rivet", "sumi")
GROUND = (58, 72, 104)
SAYS = "Welcome in, everyone! Take a cushion and mind the cat."


@contextmanager
def backend(folder: Path) -> Iterator[httpx.Client]:
    """Luma without its window; a client with the token."""
    settings = {
        "llm_provider": "echo",
        "tts_chain": ["embedded", "tone"],
        "audio_sink": "overlay",
        "api_port": 0,
        "models_dir": str(folder / "models"),
        "logs_dir": str(folder / "logs"),
    }
    (folder / "settings.yaml").write_text(json.dumps(settings))
    command = [sys.executable, str(ROOT / "main.py"), "--headless", "--data-dir", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as program:
        try:
            where = folder / "backend.json"
            for _ in range(600):
                if where.exists():
                    break
                time.sleep(0.1)
            url = json.loads(where.read_text())["url"]
            token = (folder / "api_token").read_text().strip()
            bearer = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=url, headers=bearer, timeout=30, trust_env=False) as client:
                for _ in range(300):
                    try:
                        client.get("/api/health").raise_for_status()
                        break
                    except httpx.HTTPError:
                        time.sleep(0.1)
                yield client
        finally:
            program.terminate()


def on_stage(client: httpx.Client, page: Page, character_id: str) -> None:
    """Put a character on stage and wait until the page shows it."""
    client.post("/api/switch_character", json={"character_id": character_id}).raise_for_status()
    page.locator(f"html[data-avatar={character_id}]").wait_for(state="attached")
    page.wait_for_timeout(500)


def photographed(page: Page) -> Image.Image:
    """The page on a plain ground."""
    picture = Image.open(io.BytesIO(page.screenshot(omit_background=True))).convert("RGBA")
    ground = Image.new("RGBA", picture.size, (*GROUND, 255))
    return Image.alpha_composite(ground, picture).convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    """Few colours: a picture in the docs is small."""
    picture.quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def faces(client: httpx.Client, page: Page) -> Image.Image:
    """Each character with each face."""
    names: list[str] = []
    rows: list[list[Image.Image]] = []
    for character_id in CAST:
        on_stage(client, page, character_id)
        rig: dict[str, Any] = client.get(f"/api/rigs/{character_id}").json()
        names = rig["expressions"]
        row = []
        for name in names:
            body = {"expression_id": name, "transition": "instant"}
            client.post("/api/expression", json=body).raise_for_status()
            page.wait_for_timeout(400)
            row.append(photographed(page))
        rows.append(row)
        client.post("/api/expression", json={"expression_id": "neutral"}).raise_for_status()
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (width * len(names), height * len(rows)), GROUND)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * width, y * height))
    return sheet


def main() -> None:
    """Photograph all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    out: Path = parser.parse_args().out
    with (
        tempfile.TemporaryDirectory() as folder,
        backend(Path(folder)) as client,
        sync_playwright() as playwright,
    ):
        token = client.get("/api/overlay-token").json()["token"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 800, "height": 900})
        page.goto(f"{client.base_url}/overlay?captions=1&size=40&token={token}")
        on_stage(client, page, "hoshi")
        body = {"message": f"[joy] {SAYS}", "conversation_id": "stage"}
        client.post("/api/chat", json=body).raise_for_status()
        page.locator(".word.heard").nth(1).wait_for()
        page.wait_for_timeout(250)
        save(photographed(page), out / "overlay.png")
        page.set_viewport_size({"width": 150, "height": 184})
        page.goto(f"{client.base_url}/overlay?motion=calm&sound=0&token={token}")
        save(faces(client, page), out / "overlay-faces.png")
        browser.close()


if __name__ == "__main__":
    main()
