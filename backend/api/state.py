"""What the routes may call: one typed place, filled by backend/app.py before the first request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fastapi import Request, WebSocket

from backend.contracts.settings import SettingsAccess

if TYPE_CHECKING:
    from backend.api.client_door import Door
    from backend.autonomy.service import Autonomy
    from backend.avatar.cues import Cues
    from backend.avatar.mouths import Mouths
    from backend.avatar.rigs import Rigs
    from backend.avatar.state import AvatarState
    from backend.chat.characters import Characters
    from backend.chat.command_sounds import CommandSounds
    from backend.chat.conversations import Chat
    from backend.chat.desk import AudienceDesk
    from backend.chat.moderation.moderator import Moderator
    from backend.chat.on_demand import OnDemand
    from backend.chat.panic import Panic
    from backend.chat.viewer_commands import ViewerCommands
    from backend.contracts.entities import ServiceInfo
    from backend.core.bus import EventBus
    from backend.core.modules import Modules
    from backend.core.workers import EngineHost
    from backend.engines.stt.base import STT
    from backend.engines.tts.base import TTS
    from backend.library.downloads import Downloads
    from backend.library.voices import VoiceLibrary
    from backend.listening.hearing import Hearing
    from backend.modes.switch import Modes
    from backend.monitoring.live_path import Checkup
    from backend.monitoring.system import SystemMonitor
    from backend.playback.listeners import Listeners
    from backend.playback.player import Player
    from backend.playback.sounds import SoundStore
    from backend.sources.base import ChatSource
    from backend.storage.database import Database
    from backend.storage.event_store import EventStore
    from backend.training.jobs import Jobs
    from backend.training.trainings import Trainings
    from backend.training.voice_data import VoiceData


class EnginesInUse(Protocol):
    """The engines as the settings want them now; ask again for every call."""

    @property
    def speech(self) -> TTS:
        """All speech engines as a chain."""
        ...

    @property
    def voices(self) -> Mapping[str, TTS]:
        """Each speech engine by name."""
        ...

    @property
    def hearing(self) -> STT:
        """All recognisers as a chain."""
        ...

    async def health(self) -> list[ServiceInfo]:
        """Every engine, with what is wrong and what to do."""
        ...

    def seen_in(self, modules: list[ServiceInfo], engines: list[ServiceInfo]) -> list[ServiceInfo]:
        """The modules, where one without an engine that can be used says so."""
        ...


class Access(Protocol):
    """The credentials that routes hand out; `backend.guard.Access` does it."""

    @property
    def overlay_token(self) -> str:
        """The token in overlay addresses."""
        ...

    def login_code(self, page: str = "/docs", life_s: float = 60.0) -> str:
        """A code that opens one session in a browser, once and within its time."""
        ...

    def rotate_overlay_token(self) -> str:
        """Replace the overlay token; what the old one opened ends at once."""
        ...

    def end_sessions(self) -> None:
        """Log every page out."""
        ...


@dataclass
class Services:
    """The running backend."""

    bus: EventBus
    database: Database
    events: EventStore
    characters: Characters
    chat: Chat
    audience: AudienceDesk
    viewer_commands: ViewerCommands
    stage_sounds: CommandSounds
    avatar: AvatarState
    rigs: Rigs
    cues: Cues
    engines: EnginesInUse
    host: EngineHost
    player: Player
    mouths: Mouths
    listeners: Listeners
    """Pages that play the stage's sound."""
    sounds: SoundStore
    config: SettingsAccess
    access: Access
    modules: Modules
    monitor: SystemMonitor
    checkup: Checkup
    hearing: Hearing
    downloads: Downloads
    voices: VoiceLibrary
    voice_data: VoiceData
    training: Jobs
    trainings: Trainings
    user_name: Callable[[], str]
    """What the operator is called now."""
    page_hosts: Callable[[], tuple[str, ...]]
    """Names by which a device elsewhere reaches this backend; none when it answers this machine only."""
    clients: Door
    panic: Panic
    twitch: ChatSource
    modes: Modes
    texts: OnDemand
    moderator: Moderator
    autonomy: Autonomy


async def services(request: Request) -> Services:
    """The running backend, for a route; async, or every request would go through a worker thread for it."""
    found: Services = request.app.state.services
    return found


def socket_services(socket: WebSocket) -> Services:
    """The running backend, for a socket."""
    found: Services = socket.app.state.services
    return found
