"""Show settings and save what the window or the API changes, to ``settings.yaml`` and the kept keys."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from backend.contracts.errors import ConflictError, InvalidInputError
from backend.contracts.settings import SettingInfo, SettingsSaved, SettingValue
from config import (
    ADDRESSES_OF_KEYS,
    DATABASE_PASSWORD,
    LoadedSettings,
    Origin,
    Settings,
    SettingsError,
    allowed_in_words,
    choices_of,
    group_of,
    is_live,
    is_secret,
    kind_of,
    limits_of,
    mask,
    merge,
    read_settings_file,
    receiver_of,
    validated,
)
from config_secrets import remove_leftovers, write_private

HEADER = "# Saved by Luma; you may edit it by hand. Meanings and ranges: .env.example.\n"


class SettingsStore:
    """The settings of a running program. Blocking and thread-safe: call it in a worker thread.

    Args:
        loaded: What the program was started with.
        on_saved: Called with the new values and the changed field names, in the thread that saves.
    """

    def __init__(
        self,
        loaded: LoadedSettings,
        on_saved: Callable[[Settings, tuple[str, ...]], None] | None = None,
    ) -> None:
        self._loaded = loaded
        self._on_saved = on_saved
        self._lock = threading.Lock()  # two saves at once would lose one
        for path in (loaded.path, loaded.secrets.path):
            remove_leftovers(path)

    @property
    def settings(self) -> Settings:
        """The values after the last save; those that need a restart are not in effect yet."""
        return self._loaded.settings

    def describe(self) -> list[SettingInfo]:
        """Every setting, in the order of config.py; keys masked."""
        loaded = self._loaded
        return [_info(loaded, name) for name in Settings.model_fields]

    def save(self, values: dict[str, object]) -> SettingsSaved:
        """Validate and keep ``values`` (by name, either case); None goes back to the default.

        Raises:
            InvalidInputError: An unknown name, a wrong value, or a settings.yaml that cannot be read or written;
                nothing is saved then.
            ConflictError: A setting that something higher decides; or another server would be sent a key that was
                given for the one before.
        """
        with self._lock:
            wanted = {name.lower(): value for name, value in values.items()}
            self._refuse(wanted)
            plain = {name: value for name, value in wanted.items() if not is_secret(name)}
            keys = {name: _key(value) for name, value in wanted.items() if is_secret(name)}
            # Keys that something higher locks were refused above, so what remains decides.
            new = self._checked(plain, keys)
            self._keep_keys_where_they_belong(new.settings, keys)
            changed = tuple(
                name
                for name in wanted
                if getattr(new.settings, name) != getattr(self._loaded.settings, name)
            )
            self._keep(plain, keys)
            self._loaded = new
            if changed and self._on_saved is not None:
                self._on_saved(new.settings, changed)
            return SettingsSaved(
                changed=tuple(name.upper() for name in changed),
                restart_needed=tuple(name.upper() for name in changed if not is_live(name)),
            )

    def _refuse(self, wanted: dict[str, object]) -> None:
        for name in wanted:
            if name not in Settings.model_fields:
                raise InvalidInputError(
                    f"There is no setting {name.upper()!r}; GET /api/config lists them."
                )
            if reason := self._loaded.locked(name):
                raise ConflictError(f"{name.upper()} cannot be changed here: {reason}.")

    def _keep_keys_where_they_belong(self, new: Settings, keys: dict[str, str]) -> None:
        """Who may change an address does not thereby learn the key that was given for another one."""
        old = self._loaded.settings
        for key, address in ADDRESSES_OF_KEYS.items():
            was = receiver_of(old, key)
            if key in keys or not getattr(new, key) or not was or was == receiver_of(new, key):
                continue
            reason = self._loaded.locked(key)
            what = f"change it there, it is {reason}" if reason else "give it again, or empty it"
            raise ConflictError(
                f"{key.upper()} was given for {was} and is not sent anywhere else: with a new {address.upper()}, {what}."
            )

    def _checked(self, plain: dict[str, object], keys: dict[str, str]) -> LoadedSettings:
        raw = {origin: dict(found) for origin, found in self._loaded.raw.items()}
        for origin, changes in ((Origin.FILE, plain), (Origin.KEYS, keys)):
            found = raw.setdefault(origin, {})
            for name, value in changes.items():
                found.pop(name, None)
                if value is not None and not (
                    value == "" and kind_of(name) not in ("text", "choice")
                ):
                    found[name] = value
        merged, origins = merge(raw)
        try:
            settings = validated(merged, origins, self._loaded.path)
        except SettingsError as error:
            raise InvalidInputError(" ".join(error.lines)) from error
        return replace(self._loaded, settings=settings, origins=origins, raw=raw)

    def _keep(self, plain: dict[str, object], keys: dict[str, str]) -> None:
        try:
            if plain:
                self._write(plain)
            for name, value in keys.items():
                self._loaded.secrets.save(name, value)
        except SettingsError as error:
            raise InvalidInputError(" ".join(error.lines)) from error
        except OSError as error:
            raise InvalidInputError(f"The settings could not be saved: {error}.") from error

    def _write(self, plain: dict[str, object]) -> None:
        import yaml

        # Read again: somebody may have edited the file by hand since the start.
        known, unknown = read_settings_file(self._loaded.path)
        for name, value in plain.items():
            known.pop(name, None)
            if value is not None:
                known[name] = _for_yaml(value)
        content = {name: known[name] for name in Settings.model_fields if name in known}
        text = yaml.safe_dump({**content, **unknown}, sort_keys=False, allow_unicode=True)
        write_private(self._loaded.path, HEADER + (text if content or unknown else ""))


def _info(loaded: LoadedSettings, name: str) -> SettingInfo:
    info = Settings.model_fields[name]
    lowest, highest = limits_of(name)
    return SettingInfo(
        name=name.upper(),
        group=group_of(name),
        meaning=info.description or "",
        kind=kind_of(name),
        value=_shown(name, getattr(loaded.settings, name)),
        default=_shown(name, info.default),
        allowed=allowed_in_words(name),
        choices=choices_of(name),
        lowest=lowest,
        highest=highest,
        origin=loaded.origin_in_words(name),
        locked=loaded.locked(name),
        restart_needed=not is_live(name),
        secret=is_secret(name),
    )


def _shown(name: str, value: object) -> SettingValue:
    if is_secret(name):
        return mask(value.get_secret_value()) if hasattr(value, "get_secret_value") else ""
    if isinstance(value, Path):
        return str(value)
    if name == "database_url":
        return DATABASE_PASSWORD.sub(r"\1••••", str(value))
    if isinstance(value, str):
        return re.sub(r"(://[^/@:]*):[^/@]+@", r"\1:••••@", value)  # a password in an address
    if value is None or isinstance(value, int | float | bool | tuple):
        return value
    return str(value)


def _for_yaml(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _key(value: object) -> str:
    """A key as typed. A pasted one often brings a line end along."""
    return "" if value is None else str(value).strip()
