"""The launcher's decisions; tests/integration/test_launch.py lets it work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import launch


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder of its own."""
    folder = tmp_path / "my prøject"
    (folder / ".venv").mkdir(parents=True)
    (folder / "requirements.txt").write_text("torch==2.13.0\nfastapi==1.0  # the web\n")
    (folder / "requirements-dev.txt").write_text("-r requirements.txt\npytest==9\n")
    monkeypatch.setattr(launch, "ROOT", folder)
    monkeypatch.setattr(launch, "VENV", folder / ".venv")
    monkeypatch.setattr(launch, "STAMP", folder / ".venv" / "luma-installed.json")
    monkeypatch.setattr(launch, "has_nvidia", lambda: False)
    return folder


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("app", [])),
        (["--headless", "--port", "0"], ("app", ["--headless", "--port", "0"])),
        (["app", "--headless"], ("app", ["--headless"])),
        (["test", "-k", "x y"], ("test", ["-k", "x y"])),
        (["--help"], ("help", [])),
        (["biuld"], ("biuld", [])),
    ],
)
def test_the_first_word_decides(arguments: list[str], expected: tuple[str, list[str]]) -> None:
    assert launch._split(arguments) == expected


def test_an_unknown_word_gets_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["biuld"]) == 2
    said = capsys.readouterr().err
    assert "There is no 'biuld'" in said
    assert all(word in said for word in launch.WORDS)


def test_comments_do_not_cause_an_installation_but_versions_do(project: Path) -> None:
    before = launch.fingerprint("requirements.txt")
    developers = launch.fingerprint("requirements-dev.txt")
    (project / "requirements.txt").write_text("# all\ntorch==2.13.0\n\nfastapi==1.0\n")
    assert launch.fingerprint("requirements.txt") == before
    (project / "requirements.txt").write_text("torch==2.13.0\nfastapi==1.0  # other words\n")
    assert launch.fingerprint("requirements.txt") == before
    (project / "requirements.txt").write_text("torch==2.13.0\nfastapi==1.1\n")
    assert launch.fingerprint("requirements.txt") != before
    # It includes the first one.
    assert launch.fingerprint("requirements-dev.txt") != developers


def test_a_new_graphics_card_causes_an_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    before = launch.fingerprint("requirements.txt")
    monkeypatch.setattr(launch, "has_nvidia", lambda: True)
    assert launch.fingerprint("requirements.txt") != before


def test_a_moved_folder_and_a_damaged_stamp_count_as_not_installed(project: Path) -> None:
    launch.write_stamp({"requirements.txt": "abc"})
    assert launch.read_stamp()["requirements.txt"] == "abc"
    stamp = json.loads(launch.STAMP.read_text())
    launch.STAMP.write_text(json.dumps({**stamp, "root": "/elsewhere"}))
    assert launch.read_stamp() == {}
    for text in ("", "{", "[]", "3"):
        launch.STAMP.write_text(text)
        assert launch.read_stamp() == {}


def test_it_takes_the_python_that_runs_it_when_that_fits() -> None:
    found = launch.find_python(needs_window=False)
    assert found.command == [sys.executable]
    assert found.version == sys.version_info[:3]


def test_an_interpreter_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    assert launch.probe([str(tmp_path / "nothing")]) is None
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho hello\n")
    broken.chmod(0o755)
    assert launch.probe([str(broken)]) is None


def made_up(version: tuple[int, int, int], *, tkinter: bool = True) -> launch.Python:
    return launch.Python(["python"], version, tkinter, True, "/usr")


def test_a_python_with_tkinter_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "old": made_up((3, 8, 1)),
        "without": made_up((3, 13, 0), tkinter=False),
        "with": made_up((3, 11, 4)),
        "new": made_up((3, 14, 0)),
    }
    monkeypatch.setattr(launch, "_candidates", lambda: iter([[name] for name in known]))
    monkeypatch.setattr(launch, "probe", lambda command: known[command[0]])
    assert launch.find_python(needs_window=True) is known["with"]
    assert launch.find_python(needs_window=False) is known["without"]
    del known["with"]
    assert launch.find_python(needs_window=True) is known["without"]
    del known["without"]
    with pytest.raises(launch.Problem, match=r"needs Python 3\.11, 3\.12 or 3\.13"):
        launch.find_python(needs_window=True)


def test_the_named_python_is_the_only_one_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUMA_PYTHON", "/my own/python")
    assert list(launch._candidates()) == [["/my own/python"]]


def test_missing_packages_are_installed_by_root_and_named_to_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []

    def call(command: list[str], **more: object) -> int:
        ran.append(command)
        return 0

    monkeypatch.setattr(shutil, "which", lambda tool: tool if tool == "apt-get" else None)
    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    launch.install_system(["portaudio", "xvfb"])
    line = "apt-get install -y --no-install-recommends libportaudio2 xvfb"
    assert f"sudo {line}" in capsys.readouterr().err
    assert ran == []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    launch.install_system(["portaudio", "xvfb"])
    assert ran == [line.split()]


def test_packages_that_cannot_be_installed_are_not_tried_at_every_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []

    def call(command: list[str], **more: object) -> int:
        ran.append(command)
        return 100

    monkeypatch.setattr(shutil, "which", lambda tool: tool if tool == "apt-get" else None)
    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    launch.install_system(["portaudio"])
    assert len(ran) == 3  # with the lists there are, fresh lists, once more
    launch.install_system(["portaudio"])
    assert len(ran) == 3
    assert "sudo apt-get install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tool", "package"), [("dnf", "python3-tkinter"), ("pacman", "tk"), ("none", "")]
)
def test_other_systems_get_their_own_names(
    monkeypatch: pytest.MonkeyPatch, tool: str, package: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name == tool else None)
    assert package in launch._install_command(["tkinter"])


@pytest.mark.parametrize(
    ("build", "installed", "worked", "expected"),
    [
        ("cpu", "", ["torch==2.13.0+cpu"], ["install torch==2.13.0+cpu"]),
        (
            "cpu",
            "",
            [launch.TORCH_CPU_BUILDS],
            [
                "install torch==2.13.0+cpu",
                f"install torch==2.13.0 --index-url {launch.TORCH_CPU_BUILDS}",
            ],
        ),
        (
            "cpu",
            "",
            ["torch==2.13.0"],
            [
                "install torch==2.13.0+cpu",
                f"install torch==2.13.0 --index-url {launch.TORCH_CPU_BUILDS}",
                "install torch==2.13.0",
            ],
        ),
        ("cpu", "2.13.0+cpu", [], []),
        ("gpu", "2.13.0", [], []),
        ("gpu", "", ["torch==2.13.0"], ["install torch==2.13.0"]),
        ("gpu", "2.13.0+cpu", ["torch==2.13.0"], ["uninstall -y torch", "install torch==2.13.0"]),
    ],
)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have one build")
def test_the_build_of_torch_fits_the_machine(
    monkeypatch: pytest.MonkeyPatch,
    build: str,
    installed: str,
    worked: list[str],
    expected: list[str],
) -> None:
    ran: list[str] = []

    def pip(*arguments: str, quiet: bool = False) -> int:
        ran.append(" ".join(arguments))
        return 0 if arguments[-1] in (*worked, "torch") else 1

    monkeypatch.setattr(launch, "_pip", pip)
    monkeypatch.setattr(launch, "_installed_torch", lambda: installed)
    launch._install_torch(build)
    assert ran == expected


def test_an_index_for_torch_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []

    def pip(*arguments: str, quiet: bool = False) -> int:
        ran.append(arguments)
        return 1

    monkeypatch.setenv("LUMA_TORCH_INDEX", "http://127.0.0.1:1/simple")
    monkeypatch.setattr(launch, "_pip", pip)
    monkeypatch.setattr(launch, "_installed_torch", lambda: "")
    with pytest.raises(launch.Problem, match="LUMA_TORCH_INDEX=http://127"):
        launch._install_torch("cpu")
    assert ran == [("install", "torch==2.13.0", "--index-url", "http://127.0.0.1:1/simple")]


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
def test_a_killed_launcher_leaves_no_display_behind() -> None:
    program = (
        "import launch, sys\nwith launch.own_display(): print('up', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(launch.__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        servers = psutil.Process(child.pid).children()
        child.kill()
    assert servers
    assert psutil.wait_procs(servers, timeout=10)[1] == []


def test_what_tests_start_is_compiled_once_wherever_they_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []

    def ran(command: list[str], environment: dict[str, str] | None = None) -> int:
        seen.append(dict(environment or os.environ))
        return 0

    monkeypatch.setenv("DISPLAY", ":1")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX")
    monkeypatch.setattr(launch, "check_system", lambda missing: None)
    monkeypatch.setattr(os, "chdir", lambda path: None)
    monkeypatch.setattr(launch, "_replace", ran)
    monkeypatch.setattr(launch, "_run", ran)
    assert launch._test("python", []) == 0
    assert "PYTHONDONTWRITEBYTECODE" not in seen[0]
    assert seen[0]["PYTHONPYCACHEPREFIX"] == str(project / ".venv" / "pycache")
