"""Wire values of Twitch: the login, and what became of a reply that was written there."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from backend.contracts.audience import ChannelState, StreamState
from backend.contracts.wire import Wire


class TwitchLogin(Wire):
    """How the login at Twitch is. No token is ever in it.

    Attributes:
        state: "none" = nobody has logged in; "waiting" = ``code`` is to be typed at ``url``; "in" = somebody has; "over" = the
            login has ended and cannot be renewed; "failed" = logging in did not work.
        user: Login name of who has logged in.
        detail: In words: what it does, or what is wrong and what to do.
        code: What is typed at ``url``, while it waits.
        url: Page of Twitch that asks for the code, with the code in it.
        code_ends_at: When the code is good no more.
        expires_at: When the token ends; it is renewed before where ``is_renewable``.
        missing: Permissions that were not given; what needs them does not work.
    """

    state: Literal["none", "waiting", "in", "over", "failed"] = "none"
    user: str = ""
    detail: str = ""
    code: str = ""
    url: str = ""
    code_ends_at: datetime | None = None
    expires_at: datetime | None = None
    is_renewable: bool = False
    missing: tuple[str, ...] = ()


class TwitchState(Wire):
    """The connection, the login, and what is known of the stream; without a login that is nothing."""

    channel: ChannelState
    login: TwitchLogin
    stream: StreamState = StreamState(platform="twitch")


class Written(Wire):
    """What became of a text that was written into a chat.

    Attributes:
        is_sent: It is there to be read.
        message_ids: Of its parts that were sent; long texts are several messages.
        drop_reason: The platform's code for why it is not ("msg_duplicate").
        detail: The same in words.
    """

    is_sent: bool
    message_ids: tuple[str, ...] = ()
    drop_reason: str = ""
    detail: str = ""
