"""A Live2D model of coloured rectangles, made here: its files are of the real formats, its shapes are understood by
tests/browser/fake_core.js alone, which stands in for the Cubism core."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from backend.avatar.live2d import CORE

FAKE_CORE = Path(__file__).parent / "browser" / "fake_core.js"

CELLS = 4
CELL = 16
COLOURS = {
    "blue": (40, 90, 220),
    "skin": (250, 220, 200),
    "white": (255, 255, 255),
    "black": (20, 20, 30),
    "red": (150, 30, 50),
    "pink": (255, 120, 160),
    "green": (40, 160, 80),
    "yellow": (240, 200, 40),
    "brown": (110, 70, 40),
    "orange": (250, 140, 30),
    "grey": (90, 90, 90),
    "violet": (130, 60, 200),
}
ADDED, MULTIPLIED, DOUBLE_SIDED, INVERTED = 1, 2, 4, 8

PARAMETERS: dict[str, tuple[float, float, float]] = {
    "ParamAngleX": (-30, 0, 30),
    "ParamAngleY": (-30, 0, 30),
    "ParamAngleZ": (-30, 0, 30),
    "ParamBodyAngleX": (-10, 0, 10),
    "ParamBreath": (0, 0, 1),
    "ParamEyeLOpen": (0, 1, 1.2),
    "ParamEyeROpen": (0, 1, 1.2),
    "ParamEyeBallX": (-1, 0, 1),
    "ParamMouthOpenY": (0, 0, 1),
    "ParamMouthForm": (-1, 0, 1),
    "ParamCheek": (0, 0, 1),
    "ParamArm": (-1, 0, 1),
    "ParamHair": (-10, 0, 10),
}

# Name: colour, rectangle (left, bottom, right, top; the canvas is 4 wide and 6 high, its middle is 0), order, and the rest.
SHAPES: dict[str, dict[str, Any]] = {
    "PupilL": {"colour": "black", "at": (0.2, 0.7, 0.7, 1.3), "order": 5, "masks": ["EyeL"],
               "moves": [["ParamEyeBallX", 0.2, 0, 0, 0]]},
    "PupilR": {"colour": "black", "at": (-1.0, 0.7, -0.5, 1.3), "order": 5, "masks": ["EyeR"],
               "moves": [["ParamEyeBallX", 0.2, 0, 0, 0]]},
    "Body": {"colour": "blue", "at": (-1, -3, 1, -0.5), "order": 1,
             "moves": [["ParamBodyAngleX", 0.02, 0, 0, 0], ["ParamBreath", 0, 0.02, 0, 0]]},
    "Head": {"colour": "skin", "at": (-1.2, -0.5, 1.2, 2.2), "order": 2,
             "moves": [["ParamAngleX", 0.01, 0, 0, 0], ["ParamAngleY", 0, 0.01, 0, 0]]},
    "EyeL": {"colour": "white", "at": (0.3, 0.8, 0.9, 1.4), "order": 4,
             "moves": [["ParamEyeLOpen", 0, 0, 0, 1]], "base": (1, 0)},
    "EyeR": {"colour": "white", "at": (-0.9, 0.8, -0.3, 1.4), "order": 4,
             "moves": [["ParamEyeROpen", 0, 0, 0, 1]], "base": (1, 0)},
    "Mouth": {"colour": "red", "at": (-0.4, -0.2, 0.4, 0.4), "order": 4,
              "moves": [["ParamMouthOpenY", 0, 0, 0, 0.9], ["ParamMouthForm", 0, 0, 0.3, 0]], "base": (1, 0.1)},
    "Cheek": {"colour": "pink", "at": (0.7, 0.3, 1.1, 0.6), "order": 4, "fades": "ParamCheek"},
    "ArmA": {"colour": "green", "at": (-1.9, -2.5, -1.1, -1.0), "order": 3, "part": "PartArmA"},
    "ArmB": {"colour": "yellow", "at": (-1.9, -1.0, -1.1, 0.5), "order": 3, "part": "PartArmB",
             "moves": [["ParamArm", 0, 0.8, 0, 0]]},
    "Hair": {"colour": "brown", "at": (-1.0, 1.9, 1.0, 2.7), "order": 6,
             "moves": [["ParamHair", 0.05, 0, 0, 0]]},
    "Badge": {"colour": "orange", "at": (0.5, -2, 1.5, -1), "order": 7, "masks": ["Body"], "flags": INVERTED},
    "Glow": {"colour": "grey", "at": (-0.9, -2.9, -0.5, -2.5), "order": 7, "flags": ADDED},
    "Shade": {"colour": "grey", "at": (0.1, -2.9, 0.5, -2.5), "order": 7, "flags": MULTIPLIED},
    "Tinted": {"colour": "white", "at": (-0.4, -1.5, 0.0, -1.1), "order": 7, "multiply": [0.2, 1.0, 0.2]},
    "Hidden": {"colour": "violet", "at": (1.2, -3, 1.9, -2.3), "order": 8, "hidden": True},
    "Turned": {"colour": "violet", "at": (1.2, -0.4, 1.9, 0.3), "order": 8, "flags": 0, "turned": True},
}  # fmt: skip

EXPRESSIONS: dict[str, list[dict[str, Any]]] = {
    "Happy": [
        {"Id": "ParamCheek", "Value": 1.0, "Blend": "Add"},
        {"Id": "ParamMouthForm", "Value": 1.0, "Blend": "Add"},
    ],
    "Narrow": [
        {"Id": "ParamEyeLOpen", "Value": 0.4, "Blend": "Multiply"},
        {"Id": "ParamEyeROpen", "Value": 0.4, "Blend": "Multiply"},
    ],
    "Gape": [{"Id": "ParamMouthOpenY", "Value": 0.9, "Blend": "Overwrite"}],
}

MOTIONS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "Idle": [
        (
            "idle_slow",
            {
                "Meta": {"Duration": 4.0, "Loop": True, "AreBeziersRestricted": True},
                "Curves": [
                    {
                        "Target": "Parameter",
                        "Id": "ParamBodyAngleX",
                        "Segments": [0, 0, 1, 0.66, 10, 1.33, 10, 2, 8, 0, 4, 0],
                    }
                ],
            },
        )
    ],
    "Tap": [
        (
            "wave",
            {
                "Meta": {"Duration": 1.5, "AreBeziersRestricted": False},
                "Curves": [
                    {
                        "Target": "Parameter",
                        "Id": "ParamArm",
                        "Segments": [0, 0, 1, 0.1, 0, 0.4, 1, 0.5, 1, 2, 1.0, -1, 0, 1.5, 0],
                    },
                    {"Target": "PartOpacity", "Id": "PartArmA", "Segments": [0, 0, 0, 1.5, 0]},
                    {"Target": "PartOpacity", "Id": "PartArmB", "Segments": [0, 1, 0, 1.5, 1]},
                ],
            },
        ),
        (
            "look",
            {
                "Meta": {"Duration": 1.2},
                "Curves": [
                    {
                        "Target": "Parameter",
                        "Id": "ParamEyeBallX",
                        "Segments": [0, 1, 3, 0.6, 1, 0, 1.2, 1],
                    },
                    {"Target": "Model", "Id": "EyeBlink", "Segments": [0, 0.6, 0, 1.2, 0.6]},
                ],
            },
        ),
    ],
}

PHYSICS = {
    "Version": 3,
    "Meta": {"EffectiveForces": {"Gravity": {"X": 0, "Y": -1}, "Wind": {"X": 0, "Y": 0}}},
    "PhysicsSettings": [
        {
            "Id": "Hair",
            "Input": [
                {"Source": {"Target": "Parameter", "Id": "ParamBodyAngleX"}, "Weight": 100, "Type": "X"}
            ],
            "Output": [
                {
                    "Destination": {"Target": "Parameter", "Id": "ParamHair"},
                    "VertexIndex": 1, "Scale": 20, "Weight": 100, "Type": "Angle", "Reflect": False,
                }
            ],
            "Vertices": [
                {"Position": {"X": 0, "Y": 0}, "Mobility": 1, "Delay": 1, "Acceleration": 1, "Radius": 0},
                {"Position": {"X": 0, "Y": 10}, "Mobility": 0.95, "Delay": 0.9, "Acceleration": 1.5,
                 "Radius": 10},
            ],
            "Normalization": {
                "Position": {"Minimum": -10, "Default": 0, "Maximum": 10},
                "Angle": {"Minimum": -10, "Default": 0, "Maximum": 10},
            },
        }
    ],
}  # fmt: skip


def write(folder: Path, name: str = "mimi") -> Path:
    """Write the model; its model3.json."""
    (folder / "motions").mkdir(parents=True)
    (folder / "expressions").mkdir()
    (folder / f"{name}.64").mkdir()
    _texture(list(COLOURS)[:8]).save(folder / f"{name}.64" / "texture_00.png")
    _texture(list(COLOURS)[8:]).save(folder / f"{name}.64" / "texture_01.png")
    shapes = json.dumps({"parameters": PARAMETERS, "shapes": _shapes()}).encode()
    (folder / f"{name}.moc3").write_bytes(b"MOC3\x03".ljust(64, b"\0") + shapes)
    for expression, changes in EXPRESSIONS.items():
        _json(
            folder / "expressions" / f"{expression}.exp3.json",
            {"Type": "Live2D Expression", "Parameters": changes},
        )
    for entries in MOTIONS.values():
        for motion, content in entries:
            _json(folder / "motions" / f"{motion}.motion3.json", {"Version": 3, **content})
    _json(folder / f"{name}.physics3.json", PHYSICS)
    _json(
        folder / f"{name}.pose3.json",
        {
            "Type": "Live2D Pose",
            "FadeInTime": 0.1,
            "Groups": [[{"Id": "PartArmA", "Link": []}, {"Id": "PartArmB", "Link": []}]],
        },
    )
    _json(
        folder / f"{name}.cdi3.json",
        {"Version": 3, "Parameters": [{"Id": each, "Name": each} for each in PARAMETERS]},
    )
    file = folder / f"{name}.model3.json"
    _json(file, described(name))
    return file


def described(name: str = "mimi") -> dict[str, Any]:
    """What the model3.json says."""
    return {
        "Version": 3,
        "FileReferences": {
            "Moc": f"{name}.moc3",
            "Textures": [f"{name}.64/texture_00.png", f"{name}.64/texture_01.png"],
            "Physics": f"{name}.physics3.json",
            "Pose": f"{name}.pose3.json",
            "DisplayInfo": f"{name}.cdi3.json",
            "Expressions": [
                {"Name": each, "File": f"expressions/{each}.exp3.json"} for each in EXPRESSIONS
            ],
            "Motions": {
                group: [
                    {
                        "File": f"motions/{motion}.motion3.json",
                        "FadeInTime": 0.1,
                        "FadeOutTime": 0.1,
                    }
                    for motion, _ in entries
                ]
                for group, entries in MOTIONS.items()
            },
        },
        "Groups": [
            {"Target": "Parameter", "Name": "EyeBlink", "Ids": ["ParamEyeLOpen", "ParamEyeROpen"]},
            {"Target": "Parameter", "Name": "LipSync", "Ids": ["ParamMouthOpenY"]},
        ],
        "HitAreas": [{"Id": "HitAreaHead", "Name": "Head"}],
    }


def put_core(rigs: Path) -> None:
    """Put the stand-in for the Cubism core where the user's copy belongs."""
    rigs.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(FAKE_CORE, rigs / CORE)


def _shapes() -> list[dict[str, Any]]:
    names = list(SHAPES)
    colours = list(COLOURS)
    found = []
    for name, shape in SHAPES.items():
        number = colours.index(shape["colour"])
        found.append(
            {
                "moves": [],
                "flags": DOUBLE_SIDED,
                "base": (1, 1),
                **shape,
                "id": name,
                "texture": number // 8,
                "cell": number % 8,
                "masks": [names.index(mask) for mask in shape.get("masks", [])],
            }
        )
    return found


def _texture(names: list[str]) -> Image.Image:
    """Colours in cells from the upper left on; what no shape uses is transparent."""
    image = Image.new("RGBA", (CELLS * CELL, CELLS * CELL), (0, 0, 0, 0))
    for n, name in enumerate(names):
        left, top = n % CELLS * CELL, n // CELLS * CELL
        image.paste((*COLOURS[name], 255), (left, top, left + CELL, top + CELL))
    return image


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), "utf-8")
