"""Settings as they are shown and saved: what the window and the API see of config.py."""

from __future__ import annotations

from typing import Literal, Protocol

from backend.contracts.entities import Wire

SettingKind = Literal["text", "number", "integer", "switch", "choice", "list", "path", "secret"]
SettingValue = str | int | float | bool | tuple[str, ...] | None


class SettingInfo(Wire):
    """One setting: what it means, what it is now, and whether it may be changed here.

    Attributes:
        name: Name as in .env ("LLM_PROVIDER").
        group: Heading it is shown under ("Thinking").
        meaning: One line for a person.
        kind: How to edit it.
        value: Its value now; a secret reads "••••3f9c", an empty one "".
        default: Its value when nobody sets it.
        allowed: What it may be, in words.
        choices: The values of a choice, or suggestions for a list.
        lowest, highest: Range of a number.
        origin: Where the value comes from, in words ("environment variable LLM_PROVIDER").
        locked: Why it cannot be changed here; empty when it can.
        restart_needed: Whether a change waits for the next start.
    """

    name: str
    group: str
    meaning: str
    kind: SettingKind
    value: SettingValue
    default: SettingValue
    allowed: str
    choices: tuple[str, ...] = ()
    lowest: float | None = None
    highest: float | None = None
    origin: str = "default"
    locked: str = ""
    restart_needed: bool = False
    secret: bool = False


class SettingsSaved(Wire):
    """What a save did.

    Attributes:
        changed: Names whose value is another one now.
        restart_needed: Those of them that wait for the next start.
    """

    changed: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()


class SettingsAccess(Protocol):
    """What routes may do with settings; config_store.SettingsStore does it. Blocking: call in a worker thread."""

    def describe(self) -> list[SettingInfo]:
        """Every setting, in the order of config.py."""
        ...

    def save(self, values: dict[str, object]) -> SettingsSaved:
        """Validate and keep ``values`` (by name, either case); None goes back to the default.

        Raises:
            InvalidInputError: An unknown name or a wrong value; nothing is saved then.
            ConflictError: A setting that something higher decides.
        """
        ...
