"""What the pages name exists: links, settings, routes, events, commands, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

import launch
import main
from backend.api import ROUTERS
from backend.api.commands import COMMANDS
from backend.contracts.events import EVENT_TYPES
from config import Settings
from tests.servers import llm, tts

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("data", "models", "logs", "benchmarks")),
    ]
)
HAND_WRITTEN = [path for path in PAGES if path.name not in ("EVENTS.md", "persona-transcript.md")]
GUIDES = [path for path in HAND_WRITTEN if path.name != "ARCHITECTURE.md"]
"""Pages about what stands; docs/ARCHITECTURE.md also speaks of what is planned."""

NAMES_OF_OTHERS = {"LUMA_TORCH_INDEX", "LUMA_PYTHON", "LUMA_CONFIG", "LUMA_ENV_FILE"}
"""Read by launch.py and config.py before there are settings."""

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
by_guide = pytest.mark.parametrize("page", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
by_written = pytest.mark.parametrize(
    "page", HAND_WRITTEN, ids=lambda path: str(path.relative_to(ROOT))
)


def code_in(page: Path) -> list[str]:
    """Everything between backticks, blocks line by line."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", rest)
    return [*spans, *(line for block in blocks for line in block.splitlines())]


def anchors_of(page: Path) -> set[str]:
    """The anchors GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@by_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue  # another site: not asked, tests stay on this machine
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors_of(found), f"{page.name} links to {target}"


@by_guide
def test_every_setting_a_guide_names_is_one(page: Path) -> None:
    known = {name.upper() for name in Settings.model_fields} | NAMES_OF_OTHERS
    for code in code_in(page):
        for name in re.findall(r"(?<![\w.])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w])", code):
            assert name in known, f"{page.name}: {name} in {code!r}"


def test_variables_read_before_the_settings_are_read_somewhere() -> None:
    source = (ROOT / "launch.py").read_text("utf-8") + (ROOT / "config.py").read_text("utf-8")
    assert all(f'"{name}"' in source for name in NAMES_OF_OTHERS)


@cache
def routes() -> frozenset[str]:
    """Every path, with * where a part is free."""
    from fastapi import FastAPI

    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    return frozenset(re.sub(r"\{[^}]*\}", "*", path) for path in app.openapi()["paths"])


def is_route(path: str) -> bool:
    given = path.rstrip("/").split("/")
    return any(
        len(given) == len(known)
        and all(fnmatchcase(part, pattern) for part, pattern in zip(given, known, strict=True))
        for known in (route.split("/") for route in routes())
    )


@by_guide
def test_every_route_a_guide_names_is_one(page: Path) -> None:
    for code in code_in(page):
        for path in re.findall(r"(?<![\w.])/api/[\w/{}<>….-]*", code):
            assert is_route(path), f"{page.name}: {path} in {code!r}"


@by_guide
def test_every_event_a_guide_names_is_one(page: Path) -> None:
    names = {event.model_fields["type"].default for event in EVENT_TYPES}
    groups = {name.partition(".")[0] for name in names}
    for code in code_in(page):
        found = re.fullmatch(r"([a-z]+)\.([a-z_]+|\*)", code)
        if found and found[1] in groups and not (ROOT / code).exists():
            assert found[2] == "*" or code in names, f"{page.name}: {code}"


@by_written
def test_every_command_a_page_gives_can_be_run(page: Path) -> None:
    for code in code_in(page):
        for word in re.findall(r"launch\.py ([a-z]+)", code):
            assert word in launch.WORDS, code
        for script in re.findall(r"python3? ((?:[\w-]+/)+[\w-]+\.py)", code):
            assert (ROOT / script).exists(), code
        for module in re.findall(r"(?:^|\s)-m ((?:tests|benchmarks|backend)(?:\.[a-z_]+)+)", code):
            assert (ROOT / (module.replace(".", "/") + ".py")).exists(), code
        for option in options_of_main(code):
            main._parser().parse_args(option)


def options_of_main(code: str) -> Iterator[list[str]]:
    """Options that a command line gives to the program."""
    for line in re.findall(
        r"(?:main\.py|launch\.py app|launch\.py backend)((?: --?\S+| \S+)*)", code
    ):
        words = line.split(" #")[0].replace("[options]", "").split()
        if words and words[0].startswith("--") and words[0] != "--help":
            yield words


@by_written
def test_every_file_a_page_names_is_there(page: Path) -> None:
    plain = re.sub(r"^```\w*\n.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    # The tables of the plans' files name what never was and what is to come.
    plain = re.sub(r"## 8\. .*?(?=^## 9)", "", plain, flags=re.DOTALL | re.MULTILINE)
    for line in plain.splitlines():
        if "planned" in line or "robot" in line:
            continue
        for name in re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|md|toml|yml))`", line):
            places = (ROOT / name, ROOT / "backend" / name, page.parent / name)
            assert any(place.exists() for place in places), f"{page.name}: {name}"


def test_the_tree_of_the_architecture_page_is_the_tree() -> None:
    """Every file it lists exists, in its folder; what is planned is marked so."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")
    tree = re.search(r"## 2\. Tree.*?```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert tree
    everything = {path.name for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    top = ROOT
    for line in tree[1].splitlines():
        for name in re.findall(r"(?<![*\w])(\w+\.py)", line):
            assert name in everything, line
        if begun := re.match(r"(\w+)/", line):
            top = ROOT / begun[1]
        # What lies in a folder is set in by two; several may stand in one line.
        if inside := re.match(r"  ((?:\w+/ )*\w+/)", line):
            for folder in inside[1].split():
                assert (top / folder).is_dir() or "(planned)" in line, line


def test_every_command_of_the_stream_is_in_the_page() -> None:
    text = (ROOT / "docs" / "API.md").read_text("utf-8")
    assert all(f"| `{name}` |" in text for name in COMMANDS)


@pytest.mark.parametrize(
    "example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name
)
def test_an_example_names_itself_and_stays_short(example: Path) -> None:
    text = example.read_text("utf-8")
    head = text.split('"""')[1]
    assert f"examples/{example.name}" in head
    assert len(text.splitlines()) < 80, "an example is read in one go"


def test_the_failures_to_be_tried_by_hand_are_those_the_servers_can_show() -> None:
    text = (ROOT / "docs" / "providers.md").read_text("utf-8")
    for server, faults in (("llm", llm.FAULTS), ("tts", tts.FAULTS)):
        line = re.search(rf"tests\.servers\.{server} .*# (.*)", text)
        assert line
        assert set(line[1].split()) == set(faults)


def test_the_python_versions_of_the_readme_are_those_the_launcher_takes() -> None:
    said = re.search(
        r"Python (3\.\d+), (3\.\d+) or (3\.\d+)", (ROOT / "README.md").read_text("utf-8")
    )
    assert said
    assert {tuple(map(int, one.split("."))) for one in said.groups()} == set(launch.FITTING)
