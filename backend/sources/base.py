"""What listening needs of a place where sound comes from, and the desk of one where viewers write.

Inside all sound is mono PCM16 at 16 kHz in frames of one length; what the device gives is the source's own business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from backend.clients.microphone import Microphones
from backend.clients.twitch import Addresses, Waits
from backend.clients.twitch_login import Given, TokenStore
from backend.contracts.audience import AudienceMessage, ViewerEvent
from backend.contracts.entities import Audio, ServiceInfo
from backend.contracts.listening import InputDeviceInfo
from backend.contracts.twitch import TwitchLogin, TwitchState, Written
from backend.core.bus import EventBus

RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class SoundLevel:
    """How loud it is, after the gain.

    Attributes:
        level_dbfs: RMS; -120 for silence.
        peak_dbfs: The largest sample.
        clipped: The device or the gain has cut the sound off at the top.
    """

    level_dbfs: float
    peak_dbfs: float
    clipped: bool


@dataclass(frozen=True, slots=True)
class SourceState:
    """How the device is.

    Attributes:
        is_open: Sound comes in.
        device: What is really open; empty when nothing is.
        rate_hz: Of the device; 0 when nothing is open.
        problem: Why nothing comes in and what to do, in words; empty = nothing is wrong, or it is being opened. As long
            as it stands the device is tried again, with pauses that grow from 1 to 10 s.
    """

    is_open: bool = False
    device: str = ""
    rate_hz: int = 0
    problem: str = ""


OnFrame = Callable[[bytes], None]
"""Called in the loop with each whole frame of PCM16 mono at `RATE_HZ`."""

OnLevel = Callable[[SoundLevel], None]
"""Called in the loop, at most 20 times a second of sound."""

OnState = Callable[[SourceState], None]
"""Called in the loop with every change, and with nothing else: the same problem is told once."""


@dataclass(frozen=True, slots=True)
class MicrophoneOptions:
    """What the microphone is given.

    Attributes:
        microphones: Where microphones are.
        device: By name; empty = the system's, also when that changes.
        gain_db: Added to what the device gives.
        frame_ms: Length of a frame.
    """

    microphones: Microphones
    device: str = ""
    gain_db: float = 0.0
    frame_ms: int = 32


class SoundSource(Protocol):
    """A device that is listened to; all methods are for the backend's loop."""

    name: str

    @property
    def state(self) -> SourceState:
        """How it is now."""
        ...

    def start(self, on_frame: OnFrame, on_level: OnLevel, on_state: OnState) -> None:
        """Open the device in the background and keep it open until `stop`, whatever happens to it.

        Started twice, the second one counts.
        """
        ...

    async def stop(self) -> None:
        """Let go of the device; nothing is called afterwards. Safe when not started."""
        ...

    def set_device(self, name: str) -> None:
        """Listen to the device of that name from now on; empty = the system's."""
        ...

    def set_gain(self, gain_db: float) -> None:
        """Add so much from the next piece of sound on."""
        ...

    def set_frame_ms(self, frame_ms: int) -> None:
        """Hand over frames of that length from now on."""
        ...

    async def devices(self) -> list[InputDeviceInfo]:
        """What can be listened to now.

        Raises:
            EngineUnavailableError: The devices cannot be listed, with what to do.
        """
        ...

    async def record(self, seconds: float, on_level: OnLevel | None = None) -> Audio:
        """Sound of the device as listening gets it (16 kHz, with the gain), whether it is started or not.

        Raises:
            EngineUnavailableError: It cannot be opened, or gives nothing, with what to do.
        """
        ...


class Audience(Protocol):
    """Whom a chat hands what its viewers do; `backend.chat.desk.AudienceDesk` is it."""

    def take(self, message: AudienceMessage) -> Coroutine[Any, Any, object]:
        """Take a message, once however often it comes; from the call on a deletion finds it."""
        ...

    async def did(self, event: ViewerEvent) -> None:
        """Take something else that a viewer did, once however often it comes."""
        ...

    def delete(
        self,
        *,
        message_id: str = "",
        platform: str = "",
        viewer_id: str = "",
        everything: bool = False,
    ) -> int:
        """A moderator took away one message, all of a viewer, or everything."""
        ...

    def set_writer(
        self,
        write: Callable[[AudienceMessage, str], Awaitable[None]] | None,
        platform: str = "twitch",
    ) -> None:
        """Say who writes replies into the chat; None = nobody can."""
        ...


@dataclass(frozen=True, slots=True)
class TwitchSettings:
    """What the settings say of Twitch.

    Attributes:
        addresses: Where it is.
        given: Application and tokens.
        channel: Joined when the module begins; empty = none.
        nick: Another name of the character in chat.
        waits: How patient we are.
        backoff_s: Pauses between attempts to connect again; the last one repeats.
        stable_s: How long a connection lasts until the pauses begin anew.
        silent_s: Silence in a chat without login after which the server is asked whether it lives.
    """

    addresses: Addresses = field(default_factory=Addresses)
    given: Given = field(default_factory=Given)
    channel: str = ""
    nick: str = ""
    waits: Waits = field(default_factory=Waits)
    backoff_s: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
    stable_s: float = 10.0
    silent_s: float = 10.0


@dataclass(frozen=True, slots=True)
class TwitchOptions:
    """What Twitch is given.

    Attributes:
        bus: Told of every state.
        audience: Whom everything is handed.
        store: Where the login is kept.
        settings: What the settings say at first.
        names: What the character on stage is called now.
        keep_channel: Remembers the channel over a restart.
        on_message: Shown every message that comes, beside the audience; must be quick.
    """

    bus: EventBus
    audience: Audience
    store: TokenStore
    settings: TwitchSettings
    names: Callable[[], Iterable[str]] = tuple
    keep_channel: Callable[[str], Awaitable[None]] | None = None
    on_message: Callable[[AudienceMessage], None] = lambda message: None


class ChatSource(Protocol):
    """A chat of viewers, and a module that is switched on and off; all methods are for the backend's loop."""

    name: str

    async def start(self) -> None:
        """Be on; a channel that is set is joined in the background, and again whenever the connection is lost."""
        ...

    async def stop(self) -> None:
        """Leave, within 2 s."""
        ...

    def health(self) -> ServiceInfo:
        """How it is, in words."""
        ...

    async def close(self) -> None:
        """End everything; after `stop`."""
        ...

    @property
    def state(self) -> TwitchState:
        """The connection and the login."""
        ...

    async def look(self) -> TwitchState:
        """The same, once it is known whether somebody has logged in."""
        ...

    def use(self, settings: TwitchSettings) -> None:
        """Take what the settings say now."""
        ...

    async def connect(
        self, channel: str = "", token: str = "", *, is_anonymous: bool = False
    ) -> TwitchState:
        """Join a channel in place of the present one; returns when joined. Empty = the one that is set.

        Raises:
            AppError: It did not work, with what to do; nothing is tried again then.
        """
        ...

    async def disconnect(self) -> TwitchState:
        """Leave, until somebody connects again or the module is switched on."""
        ...

    async def write(self, text: str, *, reply_to: str = "") -> Written:
        """Write into the chat, when the platform's limits allow it.

        Raises:
            ConflictError: Nothing can be written now, with the reason.
            BusyError: Too much waits to be written.
            ProviderError: The platform could not be asked.
        """
        ...

    async def begin_login(self) -> TwitchLogin:
        """Begin a login by code; the state holds the code, and tells of its end.

        Raises:
            AppError: It cannot be begun, with what to do.
        """
        ...

    def cancel_login(self) -> TwitchLogin:
        """Wait no longer for the code."""
        ...

    async def forget_login(self) -> TwitchLogin:
        """Log out, also at the platform; the chat is read without a login from then on."""
        ...
