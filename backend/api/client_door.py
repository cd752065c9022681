"""Everybody who is connected at /client-ws: who they are, how many may be, and who is in a group with whom.

A client's uid names its conversation on REST too. One that brings a name (X-Client-UID) keeps it and finds its histories
under it; others get a new one each time, with a beginning that they share with those who come from the same place: after a
reload a page finds its histories again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from backend.contracts.entities import ServiceInfo

MOST_CLIENTS = 64
MOST_MEMBERS = 16
_NAME = re.compile(r"[\w.:@-]{0,99}[\w.:@]", re.ASCII)
"""Ends in no "-": that is how the beginnings that many share are told from names."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is.

    Attributes:
        uid: Names it.
        owner: Whose histories it sees: its own uid, or the beginning of the uids that come from the same place.
        is_trusted: It showed the token or a session.
    """

    uid: str
    owner: str
    is_trusted: bool


def identify(name: str, origin: str, *, is_trusted: bool) -> Identity:
    """Who comes in.

    Args:
        name: The header X-Client-UID, empty when there is none.
        origin: The header Origin.
        is_trusted: Whether a credential was shown. Names of others are apart, so that nobody takes one that is known.
    """
    if not is_trusted:
        place = hashlib.sha256(origin.lower().encode("utf-8", "replace")).hexdigest()[:12]
        start = f"local-{place}-"
    else:
        start = "" if name else "client-"
    if _NAME.fullmatch(name):
        uid = start + name
        return Identity(uid, uid, is_trusted)
    start = start or "client-"
    return Identity(start + uuid4().hex, start, is_trusted)


class Member(Protocol):
    """A connected client, as the others see it."""

    @property
    def identity(self) -> Identity:
        """Who it is."""
        ...

    def tell(self, message: dict[str, object]) -> None:
        """Send it something."""
        ...

    def dismiss(self, code: int, reason: str) -> None:
        """Have it leave."""
        ...


@dataclass(eq=False, slots=True)
class Group:
    """Clients that see each other's characters speak; the first one invites and removes."""

    members: list[Member] = field(default_factory=list)

    @property
    def owner(self) -> Member:
        """Who began it."""
        return self.members[0]


class Door:
    """The connected clients. Belongs to the backend's loop.

    Args:
        backgrounds: Folder of the pictures that clients may show behind the character.
        on_change: Told when a client came or left.
    """

    def __init__(
        self, backgrounds: Path, on_change: Callable[[ServiceInfo], None] = lambda service: None
    ) -> None:
        self.backgrounds = backgrounds
        self._on_change = on_change
        self._clients: dict[str, Member] = {}
        self._groups: dict[Member, Group] = {}
        self.in_use: dict[str, Member] = {}
        """Conversation to the client that talks in it: two never share one."""

    def enter(self, client: Member) -> bool:
        """Let it in; False when there are too many. Who comes a second time takes the place of the first."""
        known = self._clients.get(client.identity.uid)
        if known is None and len(self._clients) >= MOST_CLIENTS:
            return False
        if known is not None:
            self.leave(known)
            known.dismiss(4009, "this client has connected again")
        self._clients[client.identity.uid] = client
        self._on_change(self.health())
        return True

    def leave(self, client: Member) -> None:
        """Forget it."""
        if self._clients.get(client.identity.uid) is client:
            del self._clients[client.identity.uid]
            self._on_change(self.health())
        self.ungroup(client)
        for conversation_id, user in list(self.in_use.items()):
            if user is client:
                del self.in_use[conversation_id]

    def health(self) -> ServiceInfo:
        """How many are connected, and what their users may wonder about."""
        count = len(self._clients)
        return ServiceInfo(
            name="client-ws",
            title="Open-LLM-VTuber clients",
            kind="system",
            enabled=count > 0,
            state="ready" if count else "off",
            detail=f"{count} connected; their web page is silent without a Live2D model"
            if count
            else "none connected",
        )

    def dismiss_untrusted(self) -> None:
        """Have those leave that came without the token: it is needed now."""
        for client in list(self._clients.values()):
            if not client.identity.is_trusted:
                client.dismiss(4001, "clients without the token are not let in any more")

    @property
    def has_trusted(self) -> bool:
        """Whether anybody is connected that showed the token."""
        return any(client.identity.is_trusted for client in self._clients.values())

    def tell_trusted(self, message: dict[str, object]) -> None:
        """Send something to everybody who showed the token."""
        for client in list(self._clients.values()):
            if client.identity.is_trusted:
                client.tell(message)

    # --- groups ---

    def others(self, client: Member) -> list[Member]:
        """Who else is in its group."""
        group = self._groups.get(client)
        return [member for member in group.members if member is not client] if group else []

    def standing(self, client: Member) -> tuple[list[str], bool]:
        """The uids in its group, and whether it is the group's owner."""
        group = self._groups.get(client)
        if group is None:
            return [], False
        return [member.identity.uid for member in group.members], group.owner is client

    def invite(self, client: Member, uid: str) -> tuple[bool, str, list[Member]]:
        """Take a client into the group; whether it was, why, and whose group has changed."""
        invited = self._clients.get(uid)
        # Who has no token learns nothing of those who have one, not even that they are there.
        if invited is None or (invited.identity.is_trusted and not client.identity.is_trusted):
            return False, f"There is no client {uid[:64]!r}.", []
        if invited is client:
            return False, "You cannot invite yourself.", []
        if invited in self._groups:
            return False, f"Client {uid[:64]!r} is in a group already.", []
        group = self._groups.get(client)
        if group is not None and group.owner is not client:
            return False, "Only who began the group invites others.", []
        if group is not None and len(group.members) >= MOST_MEMBERS:
            return False, f"A group has at most {MOST_MEMBERS} members.", []
        if group is None:
            group = self._groups[client] = Group([client])
        group.members.append(invited)
        self._groups[invited] = group
        return True, f"Client {uid[:64]!r} is in the group.", list(group.members)

    def remove(self, client: Member, uid: str) -> tuple[bool, str, list[Member]]:
        """Take a client out of the group; whether it was, why, and whose group has changed."""
        group = self._groups.get(client)
        found = [member for member in group.members if member.identity.uid == uid] if group else []
        if group is None or not found:
            return False, f"Client {uid[:64]!r} is not in your group.", []
        if group.owner is not client and found[0] is not client:
            return False, "Only who began the group removes others.", []
        return True, f"Client {uid[:64]!r} has left the group.", self.ungroup(found[0])

    def ungroup(self, client: Member) -> list[Member]:
        """Take it out of its group; without its owner, or with one member left, the group ends. Whose has changed."""
        group = self._groups.get(client)
        if group is None:
            return []
        changed = list(group.members)
        is_over = group.owner is client or len(group.members) <= 2
        for member in changed if is_over else [client]:
            group.members.remove(member)
            del self._groups[member]
        return changed
