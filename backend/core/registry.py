"""Named plugins that are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from backend.contracts.errors import EngineUnavailableError

T = TypeVar("T")


class Registry(Generic[T]):
    """Turns a name from the settings into a plugin.

    Args:
        kind: What the plugins are, in words for error messages ("speech engine").
        paths: Name to ``"package.module:factory"``; the module is imported on first use.
    """

    def __init__(self, kind: str, paths: Mapping[str, str]) -> None:
        self.kind = kind
        self.paths = dict(paths)

    @property
    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self.paths)

    def create(self, name: str, options: Any) -> T:
        """Build the plugin called ``name``; ``options`` is the plugin's own ``Options`` value.

        Raises:
            EngineUnavailableError: If there is no such plugin, or a library it needs is missing.
        """
        factory = self.load(name)
        try:
            return factory(options)
        except ModuleNotFoundError as error:
            raise self._missing(name, error) from error

    def load(self, name: str) -> Callable[[Any], T]:
        """The factory called ``name``, imported.

        Raises:
            EngineUnavailableError: As for `create`.
        """
        try:
            path = self.paths[name]
        except KeyError:
            raise EngineUnavailableError(
                f"There is no {self.kind} called {name!r}; choose one of {', '.join(self.names)}."
            ) from None
        module_name, _, attribute = path.partition(":")
        try:
            factory: Callable[[Any], T] = getattr(import_module(module_name), attribute)
        except ModuleNotFoundError as error:
            raise self._missing(name, error) from error
        return factory

    def _missing(self, name: str, error: ModuleNotFoundError) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"The {self.kind} {name!r} needs the package {error.name!r}: pip install {error.name}"
        )
