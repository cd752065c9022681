"""Who answers: the choice of mode, for everywhere and for single conversations, and who stands in when a mode fails.

A message is never lost to a failure: what fails before its first word is answered by the next mode in the same turn, in the
order orphiq, external-api, autonomous. A mode that failed rests and is tried beside the turns until it works again
(`standing`). Everything is for the backend's loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Literal, Protocol, runtime_checkable

from backend.contracts.entities import Character
from backend.contracts.errors import (
    AppError,
    ConflictError,
    InvalidInputError,
    ProviderError,
)
from backend.contracts.events import ErrorOccurred, ModeChanged
from backend.contracts.modes import MODES, ModeChange, ModeHealth, ModeName, ModeState
from backend.core import clock
from backend.core.bus import EventBus
from backend.engines.llm.base import LLM
from backend.engines.llm.options import OnRetry, ignore_retry
from backend.modes.base import BackendAdapter, Mind
from backend.modes.mind import AsModel, InOrder
from backend.modes.standing import Rules, Standing
from backend.storage import modes as mode_rows
from backend.storage.database import Database

logger = logging.getLogger(__name__)

EVERYWHERE = ""
"""In place of a conversation's id: wherever no other choice was made."""

Choice = ModeName | Literal["auto"]

HISTORY = 100
"""Changes that are remembered."""

OWN_CHOICES = 1_000
"""Conversations with a choice of their own; the oldest choice is forgotten first."""

WATCHED = 256
"""Conversations with a choice of their own whose changes are told; those not used for longest are told again when used."""

RULES = Rules()

PROBE_TIMEOUT_S = 5.0

TRY_TIMEOUT_S = 15.0
"""For somebody who asked whether a mode works: a cold server may need longer than a probe beside the turns waits."""


@runtime_checkable
class HasTriggers(Protocol):
    """A mode that says what may make her speak unasked."""

    @property
    def triggers(self) -> frozenset[str]:
        """Names of triggers."""
        ...


@runtime_checkable
class PlaysItsOwn(Protocol):
    """A mode that plays characters with a personality of its own setting."""

    def as_played(self, character: Character) -> Character:
        """The character as it is played."""
        ...


class OwnChoices(Protocol):
    """Where the choices of single conversations are kept."""

    async def load(self) -> Mapping[str, str]:
        """All of them, oldest first."""
        ...

    async def keep(self, choices: Mapping[str, str]) -> None:
        """Replace all of them."""
        ...


class StoredChoices:
    """The choices of single conversations in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Mapping[str, str]:
        """See `OwnChoices`."""
        return await self._database.read(mode_rows.own)

    async def keep(self, choices: Mapping[str, str]) -> None:
        """See `OwnChoices`."""
        await self._database.write(lambda c: mode_rows.put(c, dict(choices)), durable=True)


class Modes:
    """The modes of a running backend.

    Args:
        bus: Told of every change.
        adapters: Who answers in each mode; one that is not there cannot be chosen.
        own: Where the choices of single conversations are kept.
        keep: Keeps the choice for everywhere as a setting.
        interrupt: Stops the running turn of a conversation; of all that have no choice of their own for None.
        on_retry: Told when the next mode takes over within a turn.
        rules: When a failed mode rests.
        now_s: Monotonic clock, for tests.
        sleep: How to wait, for tests.
    """

    def __init__(
        self,
        bus: EventBus,
        adapters: Iterable[BackendAdapter],
        *,
        own: OwnChoices,
        keep: Callable[[Choice], Awaitable[None]],
        interrupt: Callable[[str | None], Awaitable[None]],
        on_retry: OnRetry = ignore_retry,
        rules: Rules = RULES,
        now_s: Callable[[], float] = clock.monotonic_s,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bus = bus
        self._adapters: dict[ModeName, BackendAdapter] = {each.name: each for each in adapters}
        self._own_store = own
        self._keep = keep
        self._interrupt = interrupt
        self.on_retry = on_retry
        self._now_s = now_s
        self._sleep = sleep
        self._standing = Standing(rules)
        self._choice: Choice = "auto"
        self._own: OrderedDict[str, ModeName] = OrderedDict()
        self._told: OrderedDict[str, tuple[ModeName, ModeName]] = OrderedDict()
        """Where changes are told: who answers and what was chosen, as it was told last."""
        self._why: dict[str, str] = {}
        self._history: deque[ModeChange] = deque(maxlen=HISTORY)
        self._version = 0
        self._probes: dict[ModeName, asyncio.Task[None]] = {}
        self._trouble: dict[ModeName, str] = {}
        """Why a mode that rests is not taken back: what its last failure, or its last probe, said."""
        self._uses: Counter[int] = Counter()
        self._retired: dict[int, BackendAdapter] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._told[EVERYWHERE] = self._both(EVERYWHERE)

    # --- start, stop, settings ---

    async def start(self, choice: Choice) -> None:
        """Take up what was chosen before; nothing is told of it."""
        self._choice = choice
        try:
            found = await self._own_store.load()
        except AppError as error:
            logger.warning("own modes of conversations could not be read: %s", error.message)
            found = {}
        for conversation_id, name in found.items():
            for mode in MODES:
                if mode == name:
                    self._own[conversation_id] = mode
        self._told[EVERYWHERE] = self._both(EVERYWHERE)
        self._why[EVERYWHERE] = _why_chosen(choice)

    async def close(self) -> None:
        """Stop trying what rests, and let go of every adapter."""
        probes = list(self._probes.values())
        for task in probes:
            task.cancel()
        await asyncio.gather(*probes, *self._closing, return_exceptions=True)
        for adapter in (*self._retired.values(), *self._adapters.values()):
            await adapter.close()

    def settings_changed(
        self, choice: Choice, renewed: Mapping[ModeName, BackendAdapter | None]
    ) -> None:
        """Settings were saved.

        Args:
            choice: The setting BACKEND_MODE.
            renewed: Modes whose settings changed, with their new adapter; None = the same one, which reads them itself.
        """
        if renewed or choice != self._choice:
            self._version += 1
        for mode, adapter in renewed.items():
            old = self._adapters.get(mode)
            if adapter is not None and adapter is not old:
                self._adapters[mode] = adapter
                if old is not None:
                    self._retire(old)
            # What failed was the mode with other settings.
            self._forgive(mode)
        reason = "settings were changed"
        if choice != self._choice:
            self._choice = choice
            reason = _why_chosen(choice)
        self._tell(reason, is_automatic=False)

    # --- choosing ---

    def chosen(self, conversation_id: str = EVERYWHERE) -> ModeName:
        """What was chosen there, or for everywhere; "auto" is the provider when one is set up, else autonomous."""
        own = self._own.get(conversation_id)
        if own is not None:
            return own
        if self._choice != "auto":
            return self._choice
        provider = self._adapters.get("external-api")
        return "external-api" if provider is not None and not provider.problem else "autonomous"

    async def set(
        self,
        mode: Choice,
        *,
        conversation_id: str | None = None,
        running: Literal["finish", "cancel"] = "finish",
        reason: str = "chosen",
    ) -> ModeState:
        """Choose who answers from the next turn on, in one conversation or everywhere.

        Args:
            mode: "auto" for everywhere only.
            conversation_id: None = everywhere that has no choice of its own.
            running: Whether a turn that runs there finishes with who began it, or is cancelled.
            reason: Who chose it, in words.

        Raises:
            InvalidInputError: There is no such mode, or "auto" for one conversation.
            ConflictError: The mode is not set up; says what is missing.
        """
        self._check(mode, conversation_id)
        if conversation_id is not None:
            self._watch(conversation_id)
        if mode != "auto":
            self._forgive(mode)  # somebody wants it: it is asked, whatever happened before
        if conversation_id is None:
            self._choice = mode
            keeping = self._keep(mode)
        else:
            assert mode != "auto"
            self._own[conversation_id] = mode
            self._own.move_to_end(conversation_id)
            while len(self._own) > OWN_CHOICES:
                self._drop(next(iter(self._own)))
            keeping = self._own_store.keep(dict(self._own))
        # Told before it is kept: keeping a setting tells of changed settings, which is not why.
        self._tell(reason, is_automatic=False)
        self._why[conversation_id or EVERYWHERE] = reason + await self._kept(keeping)
        if running == "cancel":
            await self._interrupt(conversation_id)
        return await self.state(conversation_id)

    async def clear(self, conversation_id: str | None = None, *, reason: str = "") -> ModeState:
        """Take back a conversation's own choice, or the one for everywhere ("auto" again)."""
        if conversation_id is None:
            return await self.set("auto", reason=reason or _why_chosen("auto"))
        if conversation_id in self._own:
            self._watch(conversation_id)
            del self._own[conversation_id]
            self._tell(reason or "as everywhere", is_automatic=False)
            self._drop(conversation_id)
            await self._kept(self._own_store.keep(dict(self._own)))
        return await self.state(conversation_id)

    def is_own(self, conversation_id: str) -> bool:
        """Whether a conversation has a choice of its own."""
        return conversation_id in self._own

    def speaks_unasked(self, trigger: str, conversation_id: str) -> bool:
        """Whether a trigger ("idle") may make her speak there; modes without rules about it leave that to who asks."""
        adapter = self.adapter(conversation_id)
        return not isinstance(adapter, HasTriggers) or trigger in adapter.triggers

    def as_played(self, character: Character, conversation_id: str) -> Character:
        """The character as the mode there plays it: in the mode autonomous, AUTONOMOUS_PERSONALITY is its personality."""
        adapter = self.adapter(conversation_id)
        return adapter.as_played(character) if isinstance(adapter, PlaysItsOwn) else character

    async def look_around(self) -> None:
        """Find out ahead of the first turn what costs nobody anything: whether a model runs on this machine."""
        adapter = self._adapters.get("autonomous")
        if adapter is not None:
            await adapter.probe()

    def forget(self, conversation_id: str) -> None:
        """A conversation is gone; its choice is not stored again."""
        self._drop(conversation_id)

    @property
    def history(self) -> tuple[ModeChange, ...]:
        """What changed anywhere, oldest first."""
        return tuple(self._history)

    async def state(self, conversation_id: str | None = None) -> ModeState:
        """Who answers there, or everywhere; how each mode is, and what changed."""
        where = conversation_id or EVERYWHERE
        modes = []
        for name in MODES:
            adapter = self._adapters.get(name)
            if adapter is not None:
                modes.append(self._with_standing(await adapter.health()))
        return self._state(where, tuple(modes))

    async def attempt(self, mode: ModeName) -> str:
        """Try a mode now with the code that probes it, whether it answers or not; gives what it says.

        Raises:
            InvalidInputError: There is no such mode.
            ConflictError: It is not set up; says what is missing.
            AppError: It does not work; says why and what to do.
        """
        self._check(mode, None)
        adapter = self._adapters[mode]
        self.using(adapter)
        try:
            async with asyncio.timeout(TRY_TIMEOUT_S):
                return await adapter.probe()
        except TimeoutError:
            raise ProviderError(
                f"{mode} did not answer within {TRY_TIMEOUT_S:.0f} s ({adapter.who}). Is it running, and its address right?",
                kind="unreachable",
                provider=mode,
            ) from None
        finally:
            self.used(adapter)

    # --- answering ---

    def mind(self, conversation_id: str) -> Mind:
        """Who answers the next turn of a conversation, and who takes over in it."""
        if conversation_id in self._own:
            self._watch(conversation_id)
        order = self._order(conversation_id)
        return InOrder(self, [self._adapters[mode] for mode in order], self._version)

    def model(self, conversation_id: str = EVERYWHERE) -> LLM:
        """The same as a language model: text that belongs to no conversation, without a server that keeps it."""
        order = self._order(conversation_id)
        adapters = [self._adapters[mode] for mode in order]
        return AsModel(InOrder(self, adapters, self._version, is_turn=False))

    def asked(self, conversation_id: str = EVERYWHERE) -> BackendAdapter:
        """Who would answer there if nothing were against it."""
        return self._adapters.get(self.chosen(conversation_id)) or self.adapter(conversation_id)

    def adapter(self, conversation_id: str = EVERYWHERE) -> BackendAdapter:
        """Who answers there now, for calls that are no turn."""
        return self._adapters[self._now(conversation_id)]

    def using(self, adapter: BackendAdapter) -> None:
        """A reply of it begins."""
        self._uses[id(adapter)] += 1

    def used(self, adapter: BackendAdapter) -> None:
        """A reply of it has ended, however."""
        key = id(adapter)
        self._uses[key] -= 1
        if not self._uses[key]:
            del self._uses[key]
            if (retired := self._retired.pop(key, None)) is not None:
                self._close_soon(retired)

    def answered(self, adapter: BackendAdapter) -> None:
        """It gave a whole reply."""
        if self._adapters.get(adapter.name) is adapter:
            self._standing.answered(adapter.name)

    def failed(self, adapter: BackendAdapter, error: AppError) -> None:
        """It failed; before its first word when somebody can take over."""
        mode = adapter.name
        # The last mode is asked whatever happens: nobody is left who could stand in.
        if self._adapters.get(mode) is not adapter or mode == MODES[-1]:
            return
        if self._standing.failed(mode, error, self._now_s()):
            logger.warning("mode %s rests: %s", mode, error.message)
            self._trouble[mode] = error.message
            self._probes[mode] = asyncio.create_task(self._bring_back(mode), name=f"probe {mode}")
            self._tell(error.message, is_automatic=True)

    # --- inside ---

    def _order(self, where: str) -> list[ModeName]:
        """Whom to ask, in order; never empty."""
        chosen = self.chosen(where)
        candidates = MODES[MODES.index(chosen) :]
        usable = [
            mode
            for mode in candidates
            if mode in self._adapters
            and not self._adapters[mode].problem
            and not self._standing.is_resting(mode)
        ]
        return usable or [MODES[-1]]

    def _now(self, where: str) -> ModeName:
        return self._order(where)[0]

    def _both(self, where: str) -> tuple[ModeName, ModeName]:
        return self._now(where), self.chosen(where)

    def _check(self, mode: Choice, conversation_id: str | None) -> None:
        if mode == "auto":
            if conversation_id is not None:
                raise InvalidInputError(
                    "One conversation has a mode of its own or none: choose one of"
                    f" {', '.join(self._adapters)}, or take its choice back (DELETE)."
                )
            return
        adapter = self._adapters.get(mode)
        if adapter is None:
            raise InvalidInputError(
                f"There is no mode {mode!r}; there are {', '.join(self._adapters)}."
            )
        if adapter.problem:
            raise ConflictError(f"{mode} cannot be chosen: {adapter.problem}")

    async def _kept(self, keeping: Awaitable[None]) -> str:
        """Keep a choice; what cannot be kept counts until the next start, and is said."""
        try:
            await keeping
        except AppError as error:
            text = f"The mode is changed until the next start only: {error.message}"
            logger.warning("%s", text)
            self._bus.publish(
                ErrorOccurred(source="modes", severity="WARNING", code=error.code, reason=text)
            )
            return " (until the next start)"
        return ""

    def _forgive(self, mode: ModeName) -> None:
        self._standing.forget(mode)
        self._trouble.pop(mode, None)
        if (task := self._probes.pop(mode, None)) is not None:
            task.cancel()

    def _drop(self, conversation_id: str) -> None:
        for known in (self._own, self._told, self._why):
            known.pop(conversation_id, None)

    def _watch(self, conversation_id: str) -> None:
        """Have changes there told from now on."""
        self._told.setdefault(conversation_id, self._both(conversation_id))
        self._told.move_to_end(conversation_id)
        if len(self._told) > WATCHED:
            oldest = next(where for where in self._told if where != EVERYWHERE)
            del self._told[oldest]
            self._why.pop(oldest, None)

    def _tell(self, reason: str, *, is_automatic: bool) -> None:
        """Say where somebody else answers from now on."""
        for where, before in [*self._told.items()]:
            after = self._both(where)
            if after == before:
                continue
            self._told[where] = after
            self._why[where] = reason
            was, now = before[0], after[0]
            change = ModeChange(
                at=clock.now(),
                before=was,
                after=now,
                reason=reason,
                conversation_id=where,
                is_automatic=is_automatic,
            )
            self._history.append(change)
            is_worse = is_automatic and MODES.index(now) > MODES.index(was)
            logger.info("mode %s -> %s %s: %s", was, now, where, reason)
            self._bus.publish(
                ModeChanged(
                    change=change,
                    state=self._state(where, tuple(self._plain_healths())),
                    severity="WARNING" if is_worse else "INFO",
                )
            )

    def _state(self, where: str, modes: tuple[ModeHealth, ...]) -> ModeState:
        mode, chosen = self._now(where), self.chosen(where)
        reason = self._why.get(where) or self._why.get(EVERYWHERE, "")
        adapter = self._adapters.get(chosen)
        if mode != chosen and adapter is not None and adapter.problem:
            reason = adapter.problem
        return ModeState(
            mode=mode,
            chosen=chosen,
            reason=reason,
            is_own=where in self._own,
            conversation_id=where,
            modes=modes,
            history=tuple(
                change for change in self._history if change.conversation_id in (EVERYWHERE, where)
            ),
        )

    def _plain_healths(self) -> Iterable[ModeHealth]:
        """How each mode is, as far as that can be said at once."""
        for name in MODES:
            if (adapter := self._adapters.get(name)) is not None:
                yield self._with_standing(
                    ModeHealth(
                        mode=name,
                        is_available=not adapter.problem,
                        detail=adapter.problem or adapter.who,
                    )
                )

    def _with_standing(self, health: ModeHealth) -> ModeHealth:
        at_s = self._standing.probe_at_s(health.mode)
        if at_s is None:
            return health
        wait_s = round(max(0.0, at_s - self._now_s()), 1)
        why = self._trouble.get(health.mode, "")
        return health.model_copy(
            update={
                "is_resting": True,
                "is_available": False,
                "next_probe_s": wait_s,
                "detail": f"{health.detail}: {why}"
                if why and why not in health.detail
                else health.detail,
            }
        )

    async def _bring_back(self, mode: ModeName) -> None:
        """Try a mode that rests until it is taken back."""
        while (at_s := self._standing.probe_at_s(mode)) is not None:
            await self._sleep(max(0.0, at_s - self._now_s()))
            words = ""
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    words = await self._adapters[mode].probe()
                is_good = True
            except AppError as error:
                logger.debug("mode %s: probe failed: %s", mode, error)
                # As in a turn: who refuses the request is there. A list without the model that is asked for is not
                # to keep a server away that answers with it, as servers do that know names they do not list.
                is_good = isinstance(error, ProviderError) and error.kind == "request"
                self._trouble[mode] = words = error.message
            except TimeoutError:
                is_good = False
                self._trouble[mode] = f"It did not answer within {PROBE_TIMEOUT_S:.0f} s."
            except Exception:  # a bug in one mode must not end the trying
                logger.exception("mode %s: the probe failed", mode)
                is_good = False
            if self._standing.probed(mode, is_good, self._now_s()):
                del self._probes[mode]
                self._trouble.pop(mode, None)
                self._tell(f"{mode} works again: {words}", is_automatic=True)
                return

    def _retire(self, adapter: BackendAdapter) -> None:
        """A running turn ends with the adapter it began with; then it is closed."""
        if self._uses.get(id(adapter)):
            self._retired[id(adapter)] = adapter
        else:
            self._close_soon(adapter)

    def _close_soon(self, adapter: BackendAdapter) -> None:
        task = asyncio.create_task(adapter.close(), name=f"closing {adapter.name}")
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("%s: %s", task.get_name(), error)


def _why_chosen(choice: Choice) -> str:
    if choice == "auto":
        return "by itself: a provider that is set up, else autonomous"
    return f"BACKEND_MODE={choice}"
