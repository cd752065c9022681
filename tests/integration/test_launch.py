"""The launcher at work: a real venv, pip against a folder of small wheels, a path with spaces and umlauts."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="written for POSIX paths")

MAIN = """
import json, os, sys, small
print(json.dumps({"arguments": sys.argv[1:], "cwd": os.getcwd(), "small": small.VALUE}))
sys.exit(7 if "--seven" in sys.argv else 0)
"""


def make_wheel(folder: Path, name: str, version: str, source: str) -> None:
    """A wheel with one module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text.encode())}\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(path, text)


class Project:
    """A small project with the real launcher."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "lüma test"
        self.wheels = folder / "wheels"
        self.elsewhere = folder / "else where"
        for made in (self.folder, self.wheels, self.elsewhere):
            made.mkdir()
        shutil.copy(ROOT / "launch.py", self.folder)
        (self.folder / "requirements.txt").write_text("torch==2.13.0\nsmall==1.0\n")
        (self.folder / "requirements-dev.txt").write_text("-r requirements.txt\n")
        (self.folder / "main.py").write_text(MAIN)
        make_wheel(self.wheels, "torch", "2.13.0+cpu", "")
        self.environment = {
            **os.environ,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.wheels.as_uri(),
        }

    def command(self, *arguments: str, python: str = sys.executable) -> list[str]:
        return [python, str(self.folder / "launch.py"), *arguments]

    def launch(
        self, *arguments: str, python: str = sys.executable
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, python=python),
            capture_output=True,
            encoding="utf-8",
            env=self.environment,
            cwd=self.elsewhere,
            timeout=100,
            check=False,
        )


@pytest.mark.slow
def test_from_nothing_to_running_and_again(tmp_path: Path) -> None:
    project = Project(tmp_path)
    # The first installation fails half-way: a package is missing.
    first = project.launch("app", "--headless")
    assert first.returncode == 1
    assert "The installation failed" in first.stderr
    assert "small==1.0" in first.stdout + first.stderr  # pip's own words are seen
    assert not (project.folder / ".venv" / "luma-installed.json").exists()

    make_wheel(project.wheels, "small", "1.0", "VALUE = 1")
    second = project.launch("app", "--headless", "ein zwei", "drü")
    assert second.returncode == 0, second.stderr
    assert '"arguments": ["--headless", "ein zwei", "dr\\u00fc"]' in second.stdout
    assert '"small": 1' in second.stdout
    assert str(project.elsewhere.name) in second.stdout

    # Nothing changed: nothing is installed, pip is not even asked.
    third = project.launch("backend", "--seven")
    assert third.returncode == 7
    assert third.stdout.startswith('{"arguments": ["--headless", "--seven"]')
    assert "Installing what" not in third.stderr

    # The requirements changed: only then it installs again.
    make_wheel(project.wheels, "small", "1.1", "VALUE = 11")
    (project.folder / "requirements.txt").write_text("torch==2.13.0\nsmall==1.1\n")
    fourth = project.launch("app", "--headless")
    assert "Installing what requirements.txt lists" in fourth.stderr
    assert '"small": 11' in fourth.stdout


@pytest.mark.slow
def test_a_moved_folder_gets_a_new_environment(tmp_path: Path) -> None:
    """Scripts inside the old one hold the old path."""
    project = Project(tmp_path)
    make_wheel(project.wheels, "small", "1.0", "VALUE = 1")
    assert project.launch("app", "--headless").returncode == 0
    moved = tmp_path / "möved"
    project.folder.rename(moved)
    project.folder = moved
    again = project.launch("app", "--headless")
    assert again.returncode == 0, again.stderr
    assert "Making .venv" in again.stderr


@pytest.mark.slow
def test_a_killed_installation_is_repeated(tmp_path: Path) -> None:
    project = Project(tmp_path)
    make_wheel(project.wheels, "small", "1.0", "VALUE = 1")
    for wait_s in (0.3, 1.5, 3.0):
        child = subprocess.Popen(
            project.command("app", "--headless"),
            env=project.environment,
            cwd=project.elsewhere,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(wait_s)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    done = project.launch("app", "--headless")
    assert done.returncode == 0, done.stderr
    assert '"small": 1' in done.stdout


@pytest.mark.slow
def test_an_old_python_finds_a_fitting_one(tmp_path: Path) -> None:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    old = next(iter(sorted(versions.glob("3.[6789].*/bin/python"))), None)
    if old is None:
        pytest.skip("no old Python here")
    project = Project(tmp_path)
    make_wheel(project.wheels, "small", "1.0", "VALUE = 1")
    done = project.launch("app", "--headless", python=str(old))
    assert done.returncode == 0, done.stderr
    assert "Making .venv with Python 3.1" in done.stderr
    # Nothing fits: it says what is needed.
    shutil.rmtree(project.folder / ".venv")
    project.environment["LUMA_PYTHON"] = str(old)
    refused = project.launch("app", "--headless", python=str(old))
    assert refused.returncode == 1
    assert "Luma needs Python 3.11, 3.12 or 3.13; this is 3." in refused.stderr


@pytest.mark.slow
def test_the_tests_get_a_display_of_their_own(tmp_path: Path) -> None:
    """With a stand-in for pytest that prints where it would draw."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb here")
    project = Project(tmp_path)
    make_wheel(project.wheels, "small", "1.0", "VALUE = 1")
    source = (
        "import os, subprocess, sys\nprint('DISPLAY is', os.environ['DISPLAY'], sys.argv[1:])\n"
        "import tkinter; tkinter.Tk().destroy()\nsys.exit(5)\n"
    )
    make_wheel(project.wheels, "pytest", "9.0", source)
    (project.folder / "requirements-dev.txt").write_text("-r requirements.txt\npytest==9.0\n")
    del project.environment["PYTEST_CURRENT_TEST"]
    project.environment.pop("DISPLAY", None)
    done = project.launch("test", "-k", "a b")
    assert done.returncode == 5, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("DISPLAY is :"))
    assert line.endswith("['-k', 'a b']")
    number = line.split()[2].removeprefix(":")
    assert not Path(f"/tmp/.X11-unix/X{number}").exists()  # it is gone afterwards
