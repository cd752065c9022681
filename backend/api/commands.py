"""What a client may do over the event stream: the same calls as the REST routes, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from backend.api import chat
from backend.api.avatar import play_motion, release, show_expression
from backend.api.bodies import (
    ActBody,
    Body,
    CancelTextCommand,
    ChatCommand,
    DeleteMessagesBody,
    DryRunBody,
    ExpressionBody,
    InputBody,
    InterruptCommand,
    ListenBody,
    ListenEndBody,
    ListenStopBody,
    ModeBody,
    ModerationBody,
    ModuleCommand,
    MotionBody,
    PanicBody,
    QueueCommand,
    QueueRulesCommand,
    ReleaseBody,
    SayBody,
    SwitchBody,
    TalkBody,
    TextBody,
    TriggersCommand,
    TwitchConnectBody,
    TwitchDisconnectBody,
    VolumeBody,
)
from backend.api.conversations import interrupt
from backend.api.listening import set_input, talk
from backend.api.moderation import change as change_moderation
from backend.api.modes import set_mode
from backend.api.on_demand import SocketTexts, say
from backend.api.queue import chosen, delete
from backend.api.socket_sound import SocketSound
from backend.api.speech import set_volume
from backend.api.state import Services
from backend.api.twitch import connect as connect_twitch
from backend.chat.conversations import TurnHandle
from backend.contracts.entities import STAGE

Reply = dict[str, Any] | Coroutine[Any, Any, dict[str, Any]]
"""What goes beside "done"; a coroutine when it takes as long as a turn."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it carries, and what it calls."""

    body: type[Body]
    run: Callable[[Services, Any], Awaitable[Reply]]
    is_urgent: bool = False
    """It does not wait for the commands before it."""


@dataclass(frozen=True, slots=True)
class AvatarOrder:
    """One command about what the avatar shows; it is told whose wish it is."""

    body: type[Body]
    run: Callable[[Services, Any, str], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class SoundOrder:
    """One command about the sound that its own socket sends."""

    body: type[Body]
    run: Callable[[SocketSound, Any], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class TextOrder:
    """One command about the texts that its own socket asks for; it is told the command's id."""

    body: type[Body]
    run: Callable[[SocketTexts, Any, object], Awaitable[Reply]]


async def _chat(running: Services, body: ChatCommand) -> Reply:
    handle = await chat.send(running, body)
    if not body.wait:
        return {"turn_id": handle.turn_id, "conversation_id": handle.conversation_id}
    return _whole(handle)


async def _whole(handle: TurnHandle) -> dict[str, Any]:
    return (await chat.whole_reply(handle)).model_dump()


async def _interrupt(running: Services, body: InterruptCommand) -> Reply:
    await running.chat.conversation(body.conversation_id)
    return {"interrupted": await interrupt(running, body.conversation_id, body)}


async def _switch_character(running: Services, body: SwitchBody) -> Reply:
    conversation = await running.chat.switch_character(
        body.conversation_id or STAGE, body.character_id
    )
    return {"conversation": conversation.model_dump(mode="json")}


async def _expression(running: Services, body: ExpressionBody, owner: str) -> Reply:
    return (await show_expression(running, body, owner=owner)).model_dump(mode="json")


async def _motion(running: Services, body: MotionBody, owner: str) -> Reply:
    return (await play_motion(running, body, owner=owner)).model_dump(mode="json")


async def _release(running: Services, body: ReleaseBody) -> Reply:
    return (await release(running, body)).model_dump(mode="json")


async def _volume(running: Services, body: VolumeBody) -> Reply:
    return (await set_volume(running, body)).model_dump(mode="json")


async def _microphone(running: Services, body: InputBody) -> Reply:
    return (await set_input(body, running)).model_dump(mode="json")


async def _talk(running: Services, body: TalkBody) -> Reply:
    return (await talk(body, running)).model_dump(mode="json")


async def _mode(running: Services, body: ModeBody) -> Reply:
    return {"mode": (await set_mode(running, body)).model_dump(mode="json")}


async def _panic(running: Services, body: PanicBody) -> Reply:
    return {"panic": (await running.panic.begin(body.by)).model_dump(mode="json")}


async def _resume(running: Services, body: PanicBody) -> Reply:
    return {"panic": running.panic.end(body.by).model_dump(mode="json")}


async def _queue_approve(running: Services, body: QueueCommand) -> Reply:
    message_id = chosen(running, body.message_id, "approve")
    return (await running.audience.approve(message_id)).model_dump(mode="json")


async def _queue_skip(running: Services, body: QueueCommand) -> Reply:
    message_id = chosen(running, body.message_id, "skip")
    return running.audience.skip(message_id).model_dump(mode="json")


async def _queue_now(running: Services, body: QueueCommand) -> Reply:
    message_id = chosen(running, body.message_id, "now")
    return running.audience.now(message_id).model_dump(mode="json")


async def _queue_delete(running: Services, body: DeleteMessagesBody) -> Reply:
    return {"deleted": delete(running, body)}


async def _moderation(running: Services, body: ModerationBody) -> Reply:
    now = await change_moderation(running, body)
    return {"profile": now.profile.name, "family": now.family, "problem": now.problem}


async def _queue_rules(running: Services, body: QueueRulesCommand) -> Reply:
    return {"rules": (await running.audience.set_rules(body.rules)).model_dump(mode="json")}


async def _say(running: Services, body: SayBody) -> Reply:
    handle = await say(running, body)
    return {"turn_id": handle.turn_id, "conversation_id": handle.conversation_id}


async def _autonomy_act(running: Services, body: ActBody) -> Reply:
    running.autonomy.act(body.trigger)
    return {"autonomy": running.autonomy.state().model_dump(mode="json")}


async def _autonomy_dry_run(running: Services, body: DryRunBody) -> Reply:
    return _dry_run(running, body)


async def _dry_run(running: Services, body: DryRunBody) -> dict[str, Any]:
    found = await running.autonomy.dry_run(body.trigger, write=body.write)
    return {"dry_run": found.model_dump(mode="json")}


async def _triggers(running: Services, body: TriggersCommand) -> Reply:
    return {"rules": (await running.autonomy.set_rules(body.rules)).model_dump(mode="json")}


async def _generate_text(texts: SocketTexts, body: TextBody, name: object) -> Reply:
    return texts.begin(body, name)


async def _cancel_text(texts: SocketTexts, body: CancelTextCommand, name: object) -> Reply:
    return {"cancelled": texts.cancel(body)}


async def _listen(sound: SocketSound, body: ListenBody) -> Reply:
    return await sound.listen(body)


async def _listen_end(sound: SocketSound, body: ListenEndBody) -> Reply:
    return await sound.finish()


async def _listen_stop(sound: SocketSound, body: ListenStopBody) -> Reply:
    await sound.close()
    return {}


async def _module(running: Services, body: ModuleCommand) -> Reply:
    info = await running.modules.set_enabled(body.name, body.enabled)
    return {"module": info.model_dump(mode="json")}


async def _twitch_connect(running: Services, body: TwitchConnectBody) -> Reply:
    # Joining takes as long as Twitch takes; what comes after does not wait for it.
    return _twitch_joined(running, body)


async def _twitch_joined(running: Services, body: TwitchConnectBody) -> dict[str, Any]:
    return {"twitch": (await connect_twitch(running, body)).model_dump(mode="json")}


async def _twitch_disconnect(running: Services, body: TwitchDisconnectBody) -> Reply:
    return {"twitch": (await running.twitch.disconnect()).model_dump(mode="json")}


COMMANDS: dict[str, Command] = {
    "chat": Command(ChatCommand, _chat),
    "say": Command(SayBody, _say),
    "interrupt": Command(InterruptCommand, _interrupt),
    "switch_character": Command(SwitchBody, _switch_character),
    "release": Command(ReleaseBody, _release),
    "volume": Command(VolumeBody, _volume),
    "microphone": Command(InputBody, _microphone),
    "talk": Command(TalkBody, _talk),
    "module": Command(ModuleCommand, _module),
    "mode": Command(ModeBody, _mode),
    "triggers": Command(TriggersCommand, _triggers),
    "autonomy_act": Command(ActBody, _autonomy_act),
    "autonomy_dry_run": Command(DryRunBody, _autonomy_dry_run),
    "twitch_connect": Command(TwitchConnectBody, _twitch_connect),
    "twitch_disconnect": Command(TwitchDisconnectBody, _twitch_disconnect),
    "panic": Command(PanicBody, _panic, is_urgent=True),
    "resume": Command(PanicBody, _resume),
    "queue_approve": Command(QueueCommand, _queue_approve),
    "queue_skip": Command(QueueCommand, _queue_skip),
    "queue_now": Command(QueueCommand, _queue_now),
    "queue_delete": Command(DeleteMessagesBody, _queue_delete, is_urgent=True),
    "queue_rules": Command(QueueRulesCommand, _queue_rules),
    "moderation": Command(ModerationBody, _moderation),
}

AVATAR_ORDERS: dict[str, AvatarOrder] = {
    "expression": AvatarOrder(ExpressionBody, _expression),
    "motion": AvatarOrder(MotionBody, _motion),
}

SOUND_ORDERS: dict[str, SoundOrder] = {
    "listen": SoundOrder(ListenBody, _listen),
    "listen_end": SoundOrder(ListenEndBody, _listen_end),
    "listen_stop": SoundOrder(ListenStopBody, _listen_stop),
}

TEXT_ORDERS: dict[str, TextOrder] = {
    "generate_text": TextOrder(TextBody, _generate_text),
    "cancel_text": TextOrder(CancelTextCommand, _cancel_text),
}
