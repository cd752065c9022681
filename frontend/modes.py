"""Who answers, as the window knows it: the mode everywhere and on the stage, why, and the requests that change it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from backend.contracts.entities import STAGE
from backend.contracts.events import ConfigChanged, Event, ModeChanged
from backend.contracts.modes import ModeHealth, ModeName, ModeState
from frontend.client import BackendClient, Failure
from frontend.stage import Stage, read_model

logger = logging.getLogger(__name__)

PATH = "/api/mode"
TITLES: dict[ModeName, str] = {
    "orphiq": "Orphiq server",
    "external-api": "External API",
    "autonomous": "Autonomous",
}
MEANINGS: dict[ModeName, str] = {
    "orphiq": "A running Open-LLM-VTuber compatible server writes and speaks; what it says comes through here.",
    "external-api": "A provider of language models writes, with your key or on your own server.",
    "autonomous": "The built-in persona answers on this computer, without any network.",
}
ICONS: dict[ModeName, str] = {"orphiq": "open", "external-api": "key", "autonomous": "spark"}


class Modes:
    """The facts and the requests that change them; Tk thread only.

    Args:
        client: Line to the backend.
        stage: Told apart from everywhere: the conversation with choices of its own.
        failed: Shows a failure to the user.
    """

    def __init__(
        self, client: BackendClient, stage: Stage, failed: Callable[[Failure], None]
    ) -> None:
        self.everywhere: ModeState | None = None
        self.here: ModeState | None = None
        """On the stage; None before it is known, or when the backend knows no modes."""
        self.trouble = ""
        self._client = client
        self._stage = stage
        self._failed = failed
        self._listeners: list[Callable[[], None]] = []

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when something changed; returns what ends it."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback) if callback in self._listeners else None

    @property
    def has_fallback(self) -> bool:
        """Whether another mode stands in for the chosen one."""
        return self.here is not None and self.here.mode != self.here.chosen

    def health(self, mode: ModeName) -> ModeHealth | None:
        """How a mode is."""
        for state in (self.here, self.everywhere):
            for one in state.modes if state is not None else ():
                if one.mode == mode:
                    return one
        return None

    # --- requests

    def load(self) -> None:
        """Ask who answers, everywhere and on the stage."""
        self._client.get(PATH, self._took_everywhere, self._not_loaded)
        self._client.get(PATH, self._took_here, self._quiet, params={"conversation_id": STAGE})

    def choose(
        self,
        mode: ModeName,
        *,
        here_only: bool,
        cancels: bool,
        failed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Let another mode answer.

        Args:
            mode: Which.
            here_only: On the stage only; False = everywhere.
            cancels: Stop the running reply; False = it finishes as it began.
            failed: Told instead of the user when it does not work.
        """
        running = "cancel" if cancels else "finish"
        body: dict[str, Any] = {"mode": mode, "running": running, "by": "window"}
        if here_only:
            body["conversation_id"] = STAGE
        self._client.put(PATH, body, lambda _: self.load(), failed or self._failed)

    def give_up_own(self) -> None:
        """Let the stage follow the choice for everywhere again."""
        path = f"{PATH}?conversation_id={STAGE}"
        self._client.delete(path, None, lambda _: self.load(), self._failed)

    def let_choose(self) -> None:
        """Choose by itself: the provider when one is set up, else nobody else."""
        self._client.delete(PATH, None, lambda _: self.load(), self._failed)

    @property
    def is_automatic(self) -> bool:
        """Whether the choice for everywhere is left to the backend."""
        setting = self._stage.settings.get("BACKEND_MODE")
        return setting is not None and setting.value == "auto"

    # --- events

    def on_event(self, event: Event) -> None:
        """Keep the facts true."""
        match event:
            case ModeChanged():
                state = event.state
                if not state.conversation_id:
                    self.everywhere = state
                if state.conversation_id == STAGE or (
                    not state.conversation_id and (self.here is None or not self.here.is_own)
                ):
                    self.here = state
                self._tell()
            case ConfigChanged():
                self.load()

    # --- inside

    def _took_everywhere(self, value: Any) -> None:
        state = read_model(ModeState, value)
        if state is not None:
            self.everywhere, self.trouble = state, ""
            if self.here is None:
                self.here = state
            self._tell()

    def _took_here(self, value: Any) -> None:
        state = read_model(ModeState, value)
        if state is not None:
            self.here, self.trouble = state, ""
            self._tell()

    def _not_loaded(self, failure: Failure) -> None:
        self.trouble = (
            "This backend knows no modes: it is older than this window. Update it, and start it again."
            if failure.status == 404
            else failure.message
        )
        self._tell()

    def _quiet(self, failure: Failure) -> None:
        logger.info("the stage's mode was not loaded: %s", failure.message)

    def _tell(self) -> None:
        for callback in list(self._listeners):
            callback()
