"""The libraries of the avatar pages are what versions.json says, and can be loaded from where they lie."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "backend" / "api" / "web" / "vendor"
IMPORTED = re.compile(r"""^\s*(?:import|export)\b[^;'"]*?from\s*["']([^"']+)["']|(?:^|[;}])(?:import|export)\s*(?:[\w*{][^;'"]*?from)?\s*["']([^"']+)["']""", re.M)  # fmt: skip


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vendor_web", ROOT / "scripts" / "vendor_web.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_versions_json_says(script: ModuleType) -> None:
    assert script.changed() == []


def test_versions_json_is_about_the_packages_of_the_script(script: ModuleType) -> None:
    told = json.loads(script.VERSIONS.read_text("utf-8"))
    assert [(each["package"], each["version"]) for each in told] == [
        (each.name, each.version) for each in script.PACKAGES
    ]
    readme = (VENDOR / "README.md").read_text("utf-8")
    for each in script.PACKAGES:
        assert f"{each.name}`" in readme
        assert each.version in readme


def test_every_import_leads_to_a_file_that_ships(script: ModuleType) -> None:
    count = 0
    for package in script.PACKAGES:
        for target in package.files.values():
            if not target.endswith(".js"):
                continue
            text = (VENDOR / target).read_text("utf-8")
            for found in IMPORTED.findall(text):
                name = found[0] or found[1]
                assert name.startswith("."), f"{target} imports {name!r}: browsers cannot find it"
                assert (VENDOR / target).parent.joinpath(name).is_file(), f"{target}: {name}"
                count += 1
    assert count > 40


def test_only_imports_are_rewritten(script: ModuleType) -> None:
    text = """import { A } from 'three';\nimport*as b from"three";\nconst c = "three"; // from 'threefold'\n"""
    assert script.with_addresses(text, "three/loaders/X.js") == (
        """import { A } from '../../three/three.module.min.js';\n"""
        """import*as b from"../../three/three.module.min.js";\nconst c = "three"; // from 'threefold'\n"""
    )
