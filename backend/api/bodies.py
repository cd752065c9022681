"""What requests carry: one class per body, shared by the REST routes and the commands of the event stream."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from backend.chat.moderation.profile import Profile
from backend.contracts.audience import CommandAction, QueueRules, Role
from backend.contracts.autonomy import TriggerRules
from backend.contracts.avatar import CueKind, Transition
from backend.contracts.entities import STAGE, VoiceChoice
from backend.contracts.listening import EchoGuard, ListeningMode


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold the character U+0000")
    return text


Text = Annotated[str, AfterValidator(_no_nul)]
"""Text that every database can keep."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_no_nul)]

MessageText = Annotated[
    str, StringConstraints(min_length=1, max_length=8000), AfterValidator(_no_nul)
]


Priority = Annotated[
    int, Field(ge=-1000, le=1000, description="Higher wins, of equals the newer; none = 0.")
]


CommandWord = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,32}$")]


class Body(BaseModel):
    """Base of every request body: a misspelt field is said, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MessageBody(Body):
    """A message to the character."""

    message: MessageText = Field(description="What is said.", examples=["Hello!"])
    character_id: Id | None = Field(
        None, description="Switch the conversation to this character first."
    )
    conversation_id: Id | None = Field(
        None,
        description='An existing conversation, "stage" for the one that is heard; none = the client\'s own, or a new one.',
    )
    client_uid: Annotated[Text, StringConstraints(max_length=128)] = Field(
        "", description="Names the client; same as the header X-Client-UID."
    )
    author: Annotated[Text, StringConstraints(max_length=100)] = Field(
        "you", description="Who says it."
    )
    speak: bool = Field(True, description="Whether to make sound.")
    origin: Literal["api", "window", "page"] = Field(
        "api", description="Where it was typed; a label beside the turn, it changes nothing else."
    )


class ChatBody(MessageBody):
    """A message to the character."""

    stream: bool = Field(False, description="Answer with server-sent events while it is written.")


class ChatCommand(MessageBody):
    """A message to the character, over the event stream."""

    wait: bool = Field(False, description="Answer when the reply is whole, not when it is taken.")


class SwitchBody(Body):
    """Another active character."""

    character_id: Id
    conversation_id: Id | None = Field(None, description="Which conversation; none = the stage.")


class ConversationBody(Body):
    """A new conversation."""

    character_id: Id | None = None
    title: Annotated[Text, StringConstraints(max_length=200)] = ""


class TitleBody(Body):
    """What a conversation is called."""

    title: Annotated[Text, StringConstraints(max_length=200)]


class InterruptBody(Body):
    """Stop what is being said."""

    heard: Annotated[Text, StringConstraints(max_length=100_000)] | None = Field(
        None, description="What the client played before it stopped; none = what is known here."
    )
    waiting_too: bool = Field(False, description="Also drop the messages that wait.")


class InterruptCommand(InterruptBody):
    """Stop what is being said, over the event stream."""

    conversation_id: Id = "stage"


class TtsBody(Body):
    """Text to be spoken."""

    text: Annotated[
        str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_no_nul)
    ] = Field(examples=["Good evening, everybody."])
    voice: Annotated[Text, StringConstraints(max_length=200)] | VoiceChoice | None = Field(
        None,
        description='Name or alias of a voice, "engine/name", or a whole choice; none = the character\'s.',
    )
    character_id: Id | None = None
    play: bool = Field(
        False, description="Also play it on the stage's output; never over a live turn."
    )


class PlayBody(Body):
    """Which part of a turn to hear again."""

    n: int | None = Field(None, ge=0, le=100_000, description="One sentence; none = all of them.")


OwnerName = Annotated[Text, StringConstraints(max_length=64)]


class ExpressionBody(Body):
    """A face."""

    expression_id: Annotated[int, Field(ge=0, le=1000)] | Id = Field(
        description="Name of an expression, or its number in the character's list.",
        examples=["joy"],
    )
    character_id: Id | None = Field(None, description="Whose; none = who is on stage.")
    duration: float | None = Field(
        None, ge=0, le=86_400_000, description="Milliseconds; 0 or none = until changed."
    )
    priority: Priority | None = None
    transition: Transition | Annotated[float, Field(ge=0, le=60_000)] | None = Field(
        None,
        description="How the face gets there; a number (of ms, from older clients) and none mean smooth.",
    )
    conversation_id: Id | None = Field(None, description="Whose character; none = the stage's.")


class MotionBody(Body):
    """An animation, by its group and place in it or by its name."""

    motion_group: Annotated[Text, StringConstraints(max_length=64)] | None = Field(
        None, description="The rig's own name for a set of motions.", examples=["gesture"]
    )
    motion_index: int = Field(0, ge=0, le=10_000, description="Place within the group, from 0.")
    motion: Id | None = Field(None, description="Its name, in place of group and index.")
    loop: bool = Field(False, description="Again and again, until changed or released.")
    priority: Priority | None = None
    character_id: Id | None = Field(None, description="Whose; none = who is on stage.")
    conversation_id: Id | None = Field(None, description="Whose character; none = the stage's.")

    @model_validator(mode="after")
    def _says_which(self) -> MotionBody:
        if (self.motion is None) == (self.motion_group is None):
            raise ValueError("say either motion (a name) or motion_group and motion_index")
        return self


class ReleaseBody(Body):
    """What is to end of that which was asked for; what is left out means all."""

    character_id: Id | None = Field(None, description="Whose; none = who is on stage.")
    conversation_id: Id | None = Field(None, description="Whose character; none = the stage's.")
    owner: OwnerName | Annotated[list[OwnerName], Field(min_length=1, max_length=16)] | None = (
        Field(
            None,
            description="Only what this one asked for, or these: window, page, client, api, chat, command, autonomy, panic.",
            examples=["api", ["window", "page"]],
        )
    )
    kind: CueKind | None = None
    name: Id | None = Field(None, description="Only this expression or motion.")


class VolumeBody(Body):
    """How loud the stage is."""

    volume: float | None = Field(None, ge=0, le=1)
    muted: bool | None = None


class OutputBody(VolumeBody):
    """Where the stage is heard, and how loud."""

    device: Annotated[Text, StringConstraints(max_length=300)] | None = Field(
        None, description="Name of an output device; empty = the system's."
    )


class InputBody(Body):
    """How the microphone is; what is left out stays."""

    device: Annotated[Text, StringConstraints(max_length=200)] | None = Field(
        None, description="Name of a microphone; empty = the system's."
    )
    gain_db: float | None = Field(None, ge=-30, le=40, description="Added to what it gives.")
    muted: bool | None = None
    mode: ListeningMode | None = Field(
        None, description="off, push_to_talk, or open: heard whenever somebody speaks."
    )
    guard: EchoGuard | None = Field(
        None,
        description="While she speaks: guard = what is not hers counts, strict = nothing, headphones = all.",
    )


class PanicBody(Body):
    """Who stops everything, or lets it go on."""

    by: Annotated[Text, StringConstraints(min_length=1, max_length=40)] = Field(
        "api", description="As it is shown beside it.", examples=["control"]
    )


class ModeBody(Body):
    """Who answers."""

    mode: Literal["auto", "orphiq", "external-api", "autonomous"] = Field(
        description="auto (for everywhere only): a provider when one is set up, else autonomous.",
        examples=["autonomous"],
    )
    conversation_id: Id | None = Field(
        None, description="Only there; none = everywhere that has no mode of its own."
    )
    running: Literal["finish", "cancel"] = Field(
        "finish", description="Whether a turn that runs there finishes, or is cancelled."
    )
    by: Annotated[Text, StringConstraints(min_length=1, max_length=40)] = Field(
        "api", description="Who chose, as it is shown beside it.", examples=["window"]
    )


class ModeTestBody(Body):
    """Which mode is tried."""

    mode: Literal["orphiq", "external-api", "autonomous"] = Field(examples=["autonomous"])


class InputTestBody(Body):
    """Record from the microphone, then play it back."""

    seconds: float = Field(5.0, ge=0.5, le=15)


class TalkBody(Body):
    """The key of push-to-talk."""

    down: bool = Field(description="true: pressed; false: let go, which sends what was said.")


class ListenBody(Body):
    """Hear the sound that this socket sends from now on, as binary frames of PCM16 mono."""

    rate_hz: int = Field(16_000, ge=8_000, le=96_000, description="Of the sound.")
    conversation_id: Id | None = Field(
        None,
        description='An existing conversation, "stage" for the one that is heard; none = one of this socket\'s own.',
    )
    auto_end: bool = Field(
        True, description="Whether silence ends what is said; else only listen_end does."
    )


class ListenEndBody(Body):
    """That was all: read what was said, without waiting for silence."""


class ListenStopBody(Body):
    """Hear this socket no more."""


class IngestAsrBody(Body):
    """What another program has read of what somebody says."""

    text: Annotated[Text, StringConstraints(max_length=8000)] = Field(
        description="All that was read of the utterance so far; an empty final one takes it back."
    )
    is_final: bool = Field(
        description="false: more may come, she grows quieter or stops; true: it becomes a message."
    )
    utterance_id: Annotated[Text, StringConstraints(max_length=128)] = Field(
        "", description="The same for all transcripts of one utterance."
    )
    author: Annotated[Text, StringConstraints(max_length=100)] = Field(
        "you", description="Who speaks."
    )
    conversation_id: Id = "stage"
    language: Annotated[Text, StringConstraints(max_length=16)] = Field(
        "", description="ISO 639-1 code, when it is known."
    )


class IngestChatBody(Body):
    """What a viewer has written somewhere."""

    message: MessageText
    author: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
        AfterValidator(_no_nul),
    ] = Field(description="The viewer's name; never the operator's.")
    platform: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,23}$")] = Field(
        "chat", description="Where it was written.", examples=["twitch", "youtube"]
    )
    conversation_id: Id = Field(
        "stage",
        description='"stage": it joins the queue of viewers; another one: it is answered there at once.',
    )
    message_id: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{0,128}$")] = Field(
        "",
        description="The platform's id; what comes again under it is taken once. None = always new.",
    )
    author_id: Annotated[Text, StringConstraints(max_length=128)] = Field(
        "", description="The platform's id of the viewer; none = the name."
    )
    role: Role = Field("viewer", description="What the viewer may.")
    bits: int = Field(0, ge=0, le=10_000_000, description="Cheered with it.")
    reward: Annotated[Text, StringConstraints(max_length=100)] = Field(
        "", description="The reward it was redeemed with."
    )
    mentions_us: bool = Field(False, description="It names her; found by her name as well.")
    replies_to_us: bool = Field(False, description="It replies to something she wrote.")
    is_first: bool = Field(False, description="The viewer's first message ever.")


class ModuleBody(Body):
    """A module's switch."""

    enabled: bool


class ModuleCommand(ModuleBody):
    """A module's switch, over the event stream."""

    name: Id


class TwitchConnectBody(Body):
    """Which channel of Twitch is joined."""

    channel: Annotated[Text, StringConstraints(max_length=200)] = Field(
        "",
        description="Its name or address; empty = the one that is set (TWITCH_CHANNEL).",
        examples=["kira"],
    )
    token: SecretStr | None = Field(
        None,
        description="A user's token to log in with; it is kept. None = the login that is there.",
    )
    anonymous: bool = Field(
        False, description="Read without the login, even where somebody has logged in."
    )


class TwitchSayBody(Body):
    """Words for the chat of Twitch."""

    text: Annotated[Text, StringConstraints(min_length=1, max_length=2000)] = Field(
        description="Written by the account that is logged in; long texts are several messages.",
        examples=["Back in five!"],
    )


class TwitchDisconnectBody(Body):
    """Leave the channel."""


class PersonalityFields(Body):
    """Parts of a personality; what is left out stays."""

    traits: dict[str, float] | None = None
    mood: Text | None = None
    energy: float | None = Field(None, ge=0, le=1)
    quirks: tuple[Text, ...] | None = None
    likes: tuple[Text, ...] | None = None
    dislikes: tuple[Text, ...] | None = None


class VoiceFields(Body):
    """Parts of a voice choice; what is left out stays."""

    engine: Text | None = None
    name: Text | None = None
    speaker: int | None = Field(None, ge=0, le=100_000)
    rate: float | None = Field(None, ge=0.25, le=4)
    pitch: float | None = Field(None, ge=0, le=100)
    volume: float | None = Field(None, ge=0, le=1)


class CharacterFields(Body):
    """What may be set of a character; what is left out stays."""

    name: Text | None = Field(None, examples=["Mika"])
    profile: Text | None = None
    personality: PersonalityFields | None = None
    system_prompt: Text | None = None
    scenario: Text | None = None
    greeting: Text | None = None
    alternate_greetings: tuple[Text, ...] | None = None
    example_dialogue: Text | None = None
    post_history_instructions: Text | None = None
    creator: Text | None = None
    creator_notes: Text | None = None
    tags: tuple[Text, ...] | None = None
    language: Text | None = None
    persona_style: Text | None = None
    voice: VoiceFields | None = None
    expressions: tuple[Text, ...] | None = None
    rig: Text | None = Field(
        None, description="Id of a rig; empty = the one of its own id, else its pictures."
    )
    extensions: dict[Text, object] | None = None

    def given(self) -> dict[str, object]:
        """Only what the client sent."""
        return self.model_dump(exclude_unset=True)


class DuplicateBody(Body):
    """A copy of a character."""

    name: Annotated[Text, StringConstraints(max_length=100)] | None = None


class ConfigBody(Body):
    """Settings to save, by name; null goes back to the default."""

    values: dict[
        Annotated[str, StringConstraints(max_length=100)],
        str | int | float | bool | list[str] | None,
    ] = Field(min_length=1, max_length=500, examples=[{"LLM_PROVIDER": "persona"}])


class CheckupBody(Body):
    """What a check-up may do besides looking."""

    microphone: bool = Field(
        True, description="Open the microphone for a moment; nothing of it is read or kept."
    )
    sound: bool = Field(True, description="Play one sentence on the stage's output device.")


class LoginLinkBody(Body):
    """Where a browser is to begin."""

    page: Literal["/docs", "/webui/chat", "/webui/control"] = "/docs"
    valid_s: int = Field(
        60,
        ge=10,
        le=600,
        description="How long it opens; longer for one that is carried to a tablet.",
    )


class TextLine(Body):
    """A line of talk that a text on demand is written after."""

    role: Literal["user", "assistant", "system"] = Field(
        "user", description="Who says it; system = an instruction."
    )
    text: Annotated[Text, StringConstraints(min_length=1, max_length=4000)]


StreamFact = Annotated[Text, StringConstraints(max_length=500)] | int | float | bool | None


class TextContext(Body):
    """What a text on demand is written from; nothing of it is remembered."""

    conversation_id: Id = Field(
        STAGE, description="Whose last turns are looked at, and whose character and mode count."
    )
    turns: int = Field(0, ge=0, le=50, description="How many of them.")
    history: tuple[TextLine, ...] = Field(
        (), max_length=100, description="Lines that are looked at instead, oldest first."
    )
    stream: dict[Annotated[Text, StringConstraints(max_length=40)], StreamFact] = Field(
        {}, max_length=20, description='Facts of the stream: {"title", "game", "viewers", …}.'
    )
    character: Annotated[Text, StringConstraints(max_length=128)] | bool | None = Field(
        None,
        description="In whose voice: an id; none or true = the conversation's; \"\" or false = nobody's.",
    )


class TextOptions(Body):
    """How a text on demand is written."""

    max_length: int = Field(
        500, ge=1, le=8000, description="Characters; kept at the end of a sentence."
    )
    temperature: float | None = Field(None, ge=0, le=2, description="None = as set.")
    style: Literal["casual", "formal", "excited", "calm"] | None = Field(
        None, description="None = as the character writes."
    )


class TextBody(Body):
    """A text on demand."""

    prompt: Annotated[Text, StringConstraints(max_length=8000)] = Field(
        description="What the text is about; what is to be rewritten; who is greeted (may be empty then).",
        examples=["A title for tonight's stream"],
    )
    kind: Literal["free", "say", "rewrite", "greet"] = Field(
        "free", description="What is done with the prompt; say = it is the text, cleaned."
    )
    context: TextContext | Annotated[Text, StringConstraints(max_length=8000)] = Field(
        TextContext(), description="What it is written from; a text counts as one line of talk."
    )
    options: TextOptions = TextOptions()


class TextRequestBody(TextBody):
    """A text on demand."""

    stream: bool = Field(False, description="Answer with server-sent events while it is written.")


class CancelTextCommand(Body):
    """Stop a text that this socket asked for."""

    text: str | int | None = Field(description="The id of the command that asked for it.")


class SayBody(Body):
    """Words for her to say."""

    text: MessageText = Field(
        description="Said word for word; tags like [joy] are faces.", examples=["Back in five!"]
    )
    conversation_id: Id = Field(STAGE, description="Where.")
    speak: bool = Field(True, description="Whether to make sound.")


# --- viewers ---


class DeleteMessagesBody(Body):
    """What a moderator deleted: one message, all of a viewer, or everything."""

    message_id: Annotated[Text, StringConstraints(max_length=128)] = ""
    platform: Annotated[Text, StringConstraints(max_length=32)] = Field(
        "", description="Of the viewer, or of the chat that was cleared; none = every chat."
    )
    viewer_id: Annotated[Text, StringConstraints(max_length=128)] = ""
    everything: bool = False

    @model_validator(mode="after")
    def _says_what(self) -> DeleteMessagesBody:
        if bool(self.message_id) + bool(self.viewer_id) + self.everything != 1:
            raise ValueError("say one of message_id, viewer_id, everything")
        if self.viewer_id and not self.platform:
            raise ValueError("a viewer_id needs its platform")
        return self


class QueueCommand(Body):
    """A message that waits; "next" is the one it is most likely about, for a key that knows no ids."""

    message_id: Id = "next"


class QueueRulesCommand(Body):
    """By which rules viewers are answered."""

    rules: QueueRules


class CommandChangeBody(Body):
    """What a command of viewers is and who may use it."""

    aliases: tuple[CommandWord, ...] = Field((), max_length=20, description="Other words for it.")
    role: Role = Field("viewer", description="Who may use it: this role and those above it.")
    action: CommandAction
    value: Annotated[Text, StringConstraints(min_length=1, max_length=500)] = Field(
        description="Words with {user} {args} {channel} {count} in them; an expression; a motion; a sound file; a scene."
    )
    cooldown_s: float = Field(5, ge=0, le=86_400, description="Until anybody may use it again.")
    user_cooldown_s: float = Field(
        15, ge=0, le=86_400, description="Until the same viewer may use it again."
    )
    is_on: bool = True
    about: Annotated[Text, StringConstraints(max_length=200)] = Field(
        "", description="One line for !help."
    )


class CommandBody(CommandChangeBody):
    """A new command of viewers."""

    name: CommandWord = Field(description="The word behind the exclamation mark.")


class DryRunBody(Body):
    """What is wanted of a dry run."""

    trigger: Annotated[Text, StringConstraints(max_length=48)] = Field(
        "", description="Only this trigger, as if it had been set off; none = what comes first."
    )
    write: bool = Field(
        False,
        description="Have a line written; else a template is shown, or what a model is asked.",
    )


class ActBody(Body):
    """A trigger to be set off by hand."""

    trigger: Annotated[Text, StringConstraints(min_length=1, max_length=48)] = Field(
        description="Its id.", examples=["silence"]
    )


class TriggersCommand(Body):
    """Triggers in place of those before."""

    rules: TriggerRules


class ModerationBody(Body):
    """A change of the rules; what is left out stays."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")] | None = Field(
        None, description="The profile to put in force.", examples=["standard"]
    )
    family: bool | None = Field(None, description="The family-friendly switch.")
    profile: Profile | None = Field(
        None, description="A profile of your own: it is written to its file and put in force."
    )


class ModerationTryBody(Body):
    """A text to try the rules on."""

    text: Annotated[str, StringConstraints(max_length=8000), AfterValidator(_no_nul)] = Field(
        description="The text.", examples=["See example dot com"]
    )
    direction: Literal["in", "out"] = Field(
        "in", description="As a viewer's message, or as what she says."
    )
    profile: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")] | None = (
        Field(None, description="Another profile than the one in force.")
    )
