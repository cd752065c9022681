"""Build the backend: the one place where its parts are made and connected.

`Backend` owns everything from start to stop; `create_app` puts the guard and the routes in front. Engines are made in
`backend.wiring`.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from pydantic import SecretStr

from backend import guard
from backend.api import ROUTERS, errors, pages, webui
from backend.api.client_door import Door
from backend.api.client_ws.messages import twitch_chat
from backend.api.state import Services
from backend.autonomy.actions import Floor
from backend.autonomy.service import Autonomy, StoredFacts
from backend.autonomy.service import Options as AutonomyOptions
from backend.avatar.cues import Cues
from backend.avatar.mouths import Mouths
from backend.avatar.rigs import Rigs
from backend.avatar.staging import tell_of_stage
from backend.avatar.state import AvatarState
from backend.chat.characters import Characters
from backend.chat.command_sounds import CommandSounds
from backend.chat.commands import Commands
from backend.chat.conversations import Chat
from backend.chat.desk import AudienceDesk
from backend.chat.moderation.judge import Judge, JudgeOptions
from backend.chat.moderation.moderator import Incoming, Moderator
from backend.chat.on_demand import OnDemand
from backend.chat.panic import Panic
from backend.chat.trace import Trace
from backend.chat.turn import NEUTRAL, Answer, Request, SpeechEngine, TurnRunner
from backend.chat.viewer_commands import ViewerCommands
from backend.clients.microphone import (
    AnnouncedMicrophones,
    ComputersMicrophones,
    FileMicrophones,
    Microphones,
)
from backend.clients.twitch import Addresses as TwitchAddresses
from backend.clients.twitch import Application
from backend.clients.twitch_login import Given as TwitchGiven
from backend.contracts.audience import AudienceMessage
from backend.contracts.avatar import Motion, MotionShown
from backend.contracts.entities import (
    STAGE,
    Audio,
    Character,
    Cue,
    ServiceInfo,
    Transcript,
    VoiceChoice,
    VoiceInfo,
)
from backend.contracts.errors import EngineUnavailableError
from backend.contracts.events import ConfigChanged, ErrorOccurred, ServiceChanged
from backend.contracts.modes import MODES, ModeName
from backend.core import logs
from backend.core.auth_token import load_or_create_token, rotate_token
from backend.core.background import Background
from backend.core.bus import EventBus
from backend.core.clock import monotonic_s
from backend.core.http import HttpClient
from backend.core.modules import Modules
from backend.core.service import Switch
from backend.core.sessions import SessionFile
from backend.core.workers import EngineHost, clean_environment, run_in_thread
from backend.engines.llm import LLMS
from backend.engines.llm.base import LLM
from backend.engines.llm.options import EchoOptions
from backend.library.downloads import Downloads
from backend.library.voices import VoiceLibrary
from backend.listening.endpointing import Rules
from backend.listening.hearing import Hearing
from backend.listening.options import ListeningOptions
from backend.modes import ADAPTERS
from backend.modes.base import BackendAdapter
from backend.modes.mind import alone
from backend.modes.switch import Choice, Modes, StoredChoices
from backend.monitoring.doctor import Doctor
from backend.monitoring.live_checks import Stage
from backend.monitoring.live_path import Checkup, LiveParts, Values
from backend.monitoring.system import SystemMonitor
from backend.outputs import SINKS
from backend.outputs.base import OverlayOptions, Sink, SpeakerOptions
from backend.playback.listeners import Listeners
from backend.playback.player import Player
from backend.playback.sounds import SoundStore
from backend.sources import CHAT_SOURCES, SOUND_SOURCES
from backend.sources.base import MicrophoneOptions, TwitchOptions, TwitchSettings
from backend.storage import checkup as storage_checkup
from backend.storage import modules as module_rows
from backend.storage.database import Database
from backend.storage.event_store import EventStore
from backend.storage.retention import prune_turns
from backend.training.jobs import Jobs
from backend.training.jobs import Options as JobOptions
from backend.training.runner import PROGRAM
from backend.training.trainings import TrainingOptions, Trainings
from backend.training.voice_data import VoiceData
from backend.wiring import ENGINE_SETTINGS, MIND_SETTINGS, MODE_SETTINGS, Engines
from config import ROOT, VERSION, LoadedSettings, Settings, is_live, zone_of
from config_secrets import SecretStore
from config_store import SettingsStore

logger = logging.getLogger(__name__)

HOUSEKEEPING_S = 3600.0

INSPECT_S = 60.0
"""Reading a large voice from a slow disk, in a process that may have to start first."""

RECOGNISERS_HERE = ("faster_whisper", "whisper", "sphinx", "script")

PANIC_PRIORITY = 10_000
"""Above everything that can be asked for."""


class Backend:
    """Everything that runs behind the routes, from start to stop; all methods in the backend's loop."""

    def __init__(
        self,
        loaded: LoadedSettings,
        access: guard.Access,
        trainer: Sequence[str] = PROGRAM,
    ) -> None:
        settings = loaded.settings
        self._trainer = tuple(trainer)
        self.loaded = loaded
        self.access = access
        self.bus = EventBus()
        self.http = HttpClient()
        self.host = EngineHost(on_change=self._tell_service)
        self.database = Database(
            settings.database_url, settings.data_dir, keep_backups=settings.keep_backups
        )
        self.events = EventStore(self.database, self.bus)
        self.characters = Characters(self.database, self.bus, settings.data_dir / "avatars")
        self.avatar = AvatarState(self.bus, position_s=self._position_s, rig_of=self._rig_of)
        self.rigs = Rigs(settings.data_dir / "rigs")
        self.cues = Cues(self.avatar, self.rigs, self.characters.known, lambda: self.showing.is_on)
        self.engines = Engines(settings, bus=self.bus, host=self.host, http=self.http)
        self.sounds = SoundStore(
            settings.data_dir / "audio" / "turns",
            max_bytes=settings.keep_audio_mb << 20,
            max_age_days=settings.keep_audio_days,
        )
        self.mouths = Mouths(self.host)
        self.listeners = Listeners(self.bus)
        self.player = Player(
            self.bus,
            self._sink(settings.audio_sink),
            self._show_cue,
            self.mouths.of,
        )
        self.speaking = Switch("speak", "Voice", self._voice_in_words)
        self.remembering = Switch("memory", "Memory", lambda: "remembers the conversation")
        self.showing = Switch(
            "avatar", "Avatar", lambda: "expressions and motions follow the reply"
        )
        self.monitor = SystemMonitor(
            self.bus,
            settings.data_dir,
            interval_s=settings.metrics_interval_s,
            gpu_interval_s=settings.gpu_metrics_interval_s,
        )
        self.modes = Modes(
            self.bus,
            [self.engines.adapter(mode, self.cues) for mode in MODES if mode in ADAPTERS.paths],
            own=StoredChoices(self.database),
            keep=self._keep_mode,
            interrupt=self._interrupt_mode,
            on_retry=self.engines.tell_retry,
        )
        self.moderator = Moderator(
            settings.data_dir / "moderation",
            self.bus,
            judge=Judge(lambda: self.engines.role("moderation"), JudgeOptions()),
        )
        self.runner = TurnRunner(
            bus=self.bus,
            mind=self.modes.mind,
            speech=self._speech,
            sounds=self.sounds,
            player=self.player,
            mouth_of=self.mouths.of,
            plain_speech=self._plain_speech,
            cues=self.cues,
            moderator=self.moderator,
            manner=lambda conversation_id: self.autonomy.manner if conversation_id == STAGE else "",
            remembers=lambda: self.remembering.is_on,
            budget_tokens=settings.context_tokens,
            reply_tokens=settings.llm_max_tokens,
            temperature=settings.llm_temperature,
        )
        self.chat = Chat(
            bus=self.bus,
            database=self.database,
            characters=self.characters,
            runner=self.runner,
            user_name=lambda: self.engines.settings.user_name,
            commands=Commands(self.cues),
            on_deleted=self.modes.forget,
        )
        self.texts = OnDemand(
            self.modes.model,
            self.chat,
            self.characters.get,
            moderator=self.moderator,
            user_name=lambda: self.engines.settings.user_name,
        )
        microphones, microphones_to_train = self._microphones(settings)
        self.hearing = Hearing(
            bus=self.bus,
            chat=self.chat,
            player=self.player,
            sounds=self.sounds,
            host=self.host,
            source=SOUND_SOURCES.create("microphone", MicrophoneOptions(microphones)),
            recogniser=lambda: self.engines.hearing,
            options=_listening_options(settings),
            keep=self._keep_settings,
            in_words=self._hearing_in_words,
        )
        self.audience = AudienceDesk(
            bus=self.bus,
            database=self.database,
            chat=self.chat,
            names=self._names_on_stage,
            operator=lambda: self.engines.settings.user_name,
            person_speaks=self.hearing.hears_somebody,
            shown_name=self.moderator.shown_name,
        )
        self.stage_sounds = CommandSounds(
            settings.data_dir / "sounds",
            host=self.host,
            store=self.sounds,
            player=self.player,
        )
        self.viewer_commands = ViewerCommands(
            bus=self.bus,
            database=self.database,
            cues=self.cues,
            character=self._stage_character,
            sounds=self.stage_sounds,
            may_recite=lambda: self.audience.rules.say_word_for_word,
            can_write=self.audience.can_write,
            check_out=self.moderator.check_out,
        )
        self.audience.moderator = Incoming(self.moderator)
        self.audience.commands = self.viewer_commands
        self._calmed: tuple[str, MotionShown | None] | None = None
        self.panic = Panic(
            self.bus, self.chat, self.player, self.hearing, self._calm, self.audience
        )
        self.twitch = CHAT_SOURCES.create(
            "twitch",
            TwitchOptions(
                bus=self.bus,
                audience=self.audience,
                # A file of its own: the keys typed in the window are written by another thread.
                store=SecretStore(
                    settings.data_dir / "twitch", use_keyring=loaded.secrets.uses_keyring
                ),
                settings=_twitch_settings(settings),
                names=self._names_on_stage,
                keep_channel=lambda channel: self._keep_settings({"twitch_channel": channel}),
                on_message=self._show_to_clients,
            ),
        )
        self._autonomy_llm: LLM | None = None
        self.own_texts = OnDemand(
            self._autonomy_writer,
            self.chat,
            self._played_character,
            user_name=lambda: self.engines.settings.user_name,
        )
        self.autonomy = Autonomy(
            bus=self.bus,
            stage=self.chat,
            cues=self.cues,
            writer=self.own_texts,
            store=StoredFacts(self.database),
            character=self._stage_as_played,
            speaks_unasked=lambda group: self.modes.speaks_unasked(group, STAGE),
            floor=Floor(
                self.chat,
                is_held=lambda: self.panic.state.is_on,
                is_playing=lambda: self.player.is_playing,
                hears=self.hearing.hears_somebody,
            ),
            moves=lambda: self.showing.is_on,
            is_sounding=self.player.is_saying,
            stream_now=lambda: self.twitch.state.stream,
            options=_autonomy_options(settings),
        )
        self.modules = Modules(
            self.bus,
            (
                self.hearing,
                self.speaking,
                self.remembering,
                self.showing,
                self.twitch,
                self.autonomy,
            ),
            initially_on=settings.modules_on,
            load=lambda: self.database.read(module_rows.states),
            keep=self._keep_module,
        )
        self.downloads = Downloads(self.bus, self.http, settings.models_dir)
        self.voices = VoiceLibrary(
            self.bus, self.database, settings.models_dir, self._inspect_voice
        )
        self.training = Jobs(self.database, self.bus, self._job_options(settings))
        self.voice_data = VoiceData(
            self.bus,
            self.database,
            self.host,
            self.training,
            settings.data_dir / "training",
            hear=self._hear_here,
            # What is read aloud there is no message, and no answer belongs into the recording.
            microphones=AnnouncedMicrophones(
                microphones_to_train, self.hearing.pause, self.hearing.go_on
            ),
            upload_bytes=settings.voice_upload_mb << 20,
        )
        self.trainings = Trainings(
            self.training,
            self.voices,
            self.characters,
            self.voice_data.clips,
            self.voice_data.speakers,
            options=_training_options(settings),
            hear=self._hear_here,
            speak_with=self._speak_with,
            synthesize=self._synthesize,
        )
        self.checkup = Checkup(
            Doctor(self.bus, is_wanted=self._live_path_wanted, about=VERSION),
            self._live_parts(),
        )
        self.clients = Door(settings.data_dir / "backgrounds", self._tell_service)
        self.config = SettingsStore(loaded, on_saved=self._settings_saved)
        self._tasks = Background(logger)
        self._telling: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._detach_log: Callable[[], None] = lambda: None

    # --- start and stop ---

    async def start(self) -> None:
        """Open the database, bind the bus, warm the engines; the first turn is as fast as the tenth."""
        loop = self._loop = asyncio.get_running_loop()
        await self.database.open()
        self.bus.bind(loop, seq=await self.events.last_seq(), persist=self.events.persist)
        self._telling = self._tasks.spawn(self.bus.run(), "events to disk and sockets")
        self._detach_log = logs.attach(self.bus)
        for notice in self.database.notices:
            self.bus.publish(
                ErrorOccurred(
                    source="storage", severity="WARNING", code="storage.notice", reason=notice
                )
            )
        for notice in self.loaded.notices:
            self.bus.publish(
                ErrorOccurred(
                    source="config", severity="WARNING", code="config.notice", reason=notice
                )
            )
        await self.characters.open()
        await self.rigs.refresh(now=True)
        for notice in await self.voice_data.open():
            self.bus.publish(
                ErrorOccurred(
                    source="training", severity="WARNING", code="training.notice", reason=notice
                )
            )
        await self._moderate(self.engines.settings)
        self._apply(self.engines.settings)
        await self.modes.start(self.engines.settings.backend_mode)
        await self.autonomy.open()
        await self.modules.start()
        await self.chat.start()
        await self.viewer_commands.open()
        await self.audience.open()
        self._tasks.spawn(self.monitor.run(), "system monitor")
        self._tasks.spawn(
            tell_of_stage(self.bus, self.chat.active_character), "telling overlays who is on stage"
        )
        self._tasks.spawn(self._warm(), "warming engines")
        self._tasks.spawn(self._housekeeping(), "housekeeping")
        await self.training.open()

    async def stop(self) -> None:
        """Stop in the order in which nothing is lost: turns, then events, then the database."""
        await self.checkup.cancel()
        await self.twitch.close()
        await self.audience.close()
        await self.viewer_commands.close()
        await self.autonomy.stop()
        await self.chat.stop()
        await self.training.close()
        await self.trainings.close()
        await self.modules.stop()
        await self.downloads.stop()
        self._tasks.cancel(but=self._telling)
        await self.sounds.close()
        await self.voice_data.close()
        await self.modes.close()
        await self.engines.close()
        await self.player.sink.close()
        self.avatar.close()
        await self.host.stop()
        await self.http.close()
        self._detach_log()
        await self.bus.flush()
        await self._tasks.close()
        await self.database.close()

    async def _warm(self) -> None:
        """Load what the first turn needs, in the background: a warm engine answers at once."""
        self.engines.speech.warm()
        self.player.sink.warm()
        async with asyncio.TaskGroup() as group:
            for address in self.engines.first_asked:
                group.create_task(self.http.warm(address))
            group.create_task(self._rehearse())
            group.create_task(self.modes.look_around())

    async def _rehearse(self) -> None:
        """A turn that nobody sees, hears or keeps: what is made at first use is made before the first real one."""
        bus = EventBus()
        runner = TurnRunner(
            bus=bus,
            mind=alone(lambda: LLMS.create("echo", EchoOptions())),
            speech=lambda: None,
            sounds=self.sounds,
            player=self.player,
        )
        request = Request(
            turn_id="rehearsal",
            conversation_id="rehearsal",
            number=1,
            character=await self.characters.default(),
            text="One, two, three. *nods* [joy] Is this on?",
            author="you",
            origin="api",
            speak=False,
            on_stage=False,
            received_s=monotonic_s(),
        )
        with bus.subscribe() as heard:
            await runner.run(request, [], Answer(Trace(request.received_s)))
            for item in await heard.take():
                _ = item.wire

    async def _housekeeping(self) -> None:
        """Keep events, turns and sounds within their bounds."""
        while True:
            settings = self.engines.settings
            try:
                await self.events.prune(settings.keep_events_days, settings.keep_events)
                await prune_turns(self.database, settings.keep_events_days)
                await self.audience.prune(settings.keep_messages_days, settings.keep_messages)
                await self.sounds.prune()
            except Exception:
                logger.exception("housekeeping failed; it is tried again later")
            await asyncio.sleep(HOUSEKEEPING_S)

    # --- settings ---

    def _settings_saved(self, settings: Settings, changed: tuple[str, ...]) -> None:
        """Called in the thread that saves."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._use, settings, changed)

    def _use(self, settings: Settings, changed: tuple[str, ...]) -> None:
        if any(name.startswith(ENGINE_SETTINGS) for name in changed):
            self.engines.rebuild(settings)
            self._autonomy_llm = None
            self.hearing.recogniser_changed()
            self._tasks.spawn(self._warm(), "warming engines")
        self.engines.settings = settings
        self._apply(settings)
        if {"moderation_profile", "moderation_family"} & {*changed}:
            self._tasks.spawn(self._moderate(settings), "other moderation rules")
        renewed: dict[ModeName, BackendAdapter | None] = {
            mode: self.engines.adapter(mode, self.cues)
            for mode, begins in MODE_SETTINGS.items()
            if any(name.startswith(begins) for name in changed)
        }
        if any(name.startswith(MIND_SETTINGS) for name in changed):
            renewed["external-api"] = None
        self.modes.settings_changed(settings.backend_mode, renewed)
        needs_restart = any(not is_live(name) for name in changed)
        self.bus.publish(
            ConfigChanged(
                names=tuple(name.upper() for name in changed), restart_needed=needs_restart
            )
        )

    def _apply(self, settings: Settings) -> None:
        """What takes effect at once."""
        logs.set_level(settings.log_level, debug=settings.debug)
        for secret in settings.secrets().values():
            logs.REDACTOR.add(secret)
        self.runner.budget_tokens = settings.context_tokens
        role = settings.llm_role("main")
        self.runner.reply_tokens = role.max_tokens
        self.runner.temperature = role.temperature
        self.texts.budget_tokens = settings.context_tokens
        self.texts.temperature = role.temperature
        self.texts.allow(settings.text_requests_per_minute)
        self.moderator.judge_as(
            JudgeOptions(
                asked=settings.moderation_llm,
                timeout_s=settings.moderation_llm_timeout_s,
                fails=settings.moderation_llm_fails,
            )
        )
        self.own_texts.budget_tokens = settings.context_tokens
        own = settings.llm_role("autonomy")
        self.own_texts.temperature = own.temperature
        self.own_texts.longest_tokens = own.max_tokens
        self.own_texts.allow(settings.autonomy_texts_per_minute)
        self.autonomy.use(_autonomy_options(settings))
        self.twitch.use(_twitch_settings(settings))
        self.monitor.interval_s = settings.metrics_interval_s
        self.monitor.gpu_interval_s = settings.gpu_metrics_interval_s
        self.training.options = self._job_options(settings)
        self.trainings.options = _training_options(settings)
        self.player.duck_volume = settings.duck_volume
        self.chat.thinks_ahead = settings.think_ahead
        self._tasks.spawn(self.hearing.use(_listening_options(settings)), "listening as it is set")
        self.player.set_volume(settings.output_volume, muted=settings.output_muted)
        if not settings.compatible_clients:
            self.clients.dismiss_untrusted()
        wanted = settings.audio_sink
        if self.player.sink.name != wanted:
            self._tasks.spawn(self._change_sink(wanted), "changing the sound output")
        if self.player.device != settings.output_device:
            self._tasks.spawn(self.player.set_device(settings.output_device), "changing the device")

    async def _moderate(self, settings: Settings) -> None:
        """Put the rules in force that are set; what is wrong with them is told, and rules stay in force."""
        problem = await self.moderator.use(
            settings.moderation_profile, is_family=settings.moderation_family
        )
        if problem:
            self.bus.publish(
                ErrorOccurred(
                    source="moderation",
                    severity="WARNING",
                    code="moderation.profile",
                    reason=f"{problem} In force is {self.moderator.profile.name!r}.",
                )
            )

    async def _change_sink(self, name: str) -> None:
        old = self.player.sink
        self.player.sink = self._sink(name)
        self.player.set_volume()
        self.listeners.forget()
        await self.player.set_device(self.player.device)
        await old.close()
        self.player.sink.warm()

    def _sink(self, name: str) -> Sink:
        if name == "speaker":
            return SINKS.create(name, SpeakerOptions(convert=self._at_rate))
        if name == "overlay":
            listeners = self.listeners
            return SINKS.create(name, OverlayOptions(lambda: listeners.count, listeners.played_for))
        return SINKS.create(name, None)

    async def _at_rate(self, audio: Audio, rate_hz: int) -> Audio:
        """Sound at the rate a device insists on, made in the engine's process."""
        pcm = await self.host.call(
            "backend.audio.resample:resample_pcm16", audio.pcm, audio.rate_hz, rate_hz
        )
        return Audio(pcm, rate_hz)

    def _microphones(self, settings: Settings) -> tuple[Microphones, Microphones]:
        """Where the conversation's microphone is, and the guided recording's: the same unless a file plays it."""
        file = settings.asr_fake_audio
        if file is not None:
            return FileMicrophones(file, is_repeated=False), FileMicrophones(file)
        moves_streams = sys.platform.startswith("linux")
        there = ComputersMicrophones(None if moves_streams else self._default_microphone)
        return there, there

    async def _default_microphone(self) -> str:
        """Name of the system's microphone of the moment, as another process sees it."""
        name = await self.host.call("backend.clients.portaudio:default_input", timeout_s=15)
        return str(name)

    def _job_options(self, settings: Settings) -> JobOptions:
        return JobOptions(
            folder=settings.data_dir / "jobs",
            environment=clean_environment(),
            program=self._trainer,
            on_close=settings.training_on_close,
        )

    # --- callbacks ---

    def _speech(self) -> SpeechEngine | None:
        return self.mouths.voice(self.engines.speech) if self.speaking.is_on else None

    def _plain_speech(self) -> SpeechEngine | None:
        return self.engines.speech if self.speaking.is_on else None

    def _voice_in_words(self) -> str:
        return " → ".join(self.engines.voices) or "no engine"

    async def _keep_mode(self, mode: Choice) -> None:
        await self._keep_settings({"backend_mode": None if mode == "auto" else mode})

    async def _interrupt_mode(self, conversation_id: str | None) -> None:
        """Stop the turn of a conversation, or of all that have no mode of their own."""
        for where in self.chat.busy():
            if where == conversation_id or (
                conversation_id is None and not self.modes.is_own(where)
            ):
                await self.chat.interrupt(where)

    def _wanted_mind(self) -> str:
        """Who is meant to answer on stage, also where it could not even be made."""
        if self.engines.settings.backend_mode in ("auto", "external-api"):
            return self.engines.minds[0]
        return self.modes.asked(STAGE).who.partition(",")[0]

    async def _keep_settings(self, values: dict[str, object]) -> None:
        await run_in_thread(self.config.save, values)

    def _hearing_in_words(self) -> str:
        return " → ".join(self.engines.recognisers) or "no engine"

    async def _keep_module(self, name: str, enabled: bool) -> None:
        await self.database.write(lambda c: module_rows.put(c, name, enabled), durable=True)

    async def _inspect_voice(self, path: Path) -> VoiceInfo:
        """Look at a Piper voice in the engine's process."""
        facts = await self.host.call(
            "backend.engines.tts.piper_host:inspect", str(path), timeout_s=INSPECT_S
        )
        return VoiceInfo(
            engine="piper",
            name=path.stem,
            title=facts.get("title") or path.stem,
            language=facts.get("language", ""),
            speakers=facts.get("speakers", 1),
            rate_hz=facts.get("rate_hz"),
            path=str(path),
            problem=facts.get("problem"),
        )

    async def _hear_here(self, audio: Audio, language: str) -> Transcript:
        """Read sound with a recogniser of this machine: what a training says is nobody else's business."""
        for name, engine in self.engines.recognisers.items():
            if name in RECOGNISERS_HERE:
                try:
                    return await engine.transcribe(audio, language or None)
                except EngineUnavailableError as error:
                    logger.debug("%s does not score samples: %s", name, error.message)
        raise EngineUnavailableError(
            f"No recogniser of this machine reads {language!r}. Download a Whisper model on the page Voices (Voice tab)."
        )

    async def _speak_with(self, voice: VoiceChoice, text: str) -> None:
        """Load a Piper voice and say something with it, unheard."""
        engine = self.engines.voices.get("piper")
        if engine is None:
            raise EngineUnavailableError(
                "TTS_CHAIN does not name piper, which speaks with it. Add it."
            )
        await self._synthesize(self.voices.path(voice.name), text)
        await engine.synthesize(text, voice)

    async def _synthesize(self, model: Path, text: str) -> Audio:
        """Speak with a Piper voice that lies anywhere."""
        pcm, rate_hz, _ = await self.host.call(
            "backend.engines.tts.piper_host:synthesize",
            str(model),
            text.encode("utf-8", "replace"),
            timeout_s=INSPECT_S,
        )
        return Audio(pcm, rate_hz)

    # --- the check-up ---

    def _live_path_wanted(self) -> str:
        """Who needs the live path right now; empty when nobody does."""
        if self.chat.is_busy_anywhere():
            return "A turn is being answered."
        return "Something is being played." if self.player.is_playing else ""

    def _live_parts(self) -> LiveParts:
        """What a check-up tries: the parts that a turn uses, as they are when it begins."""
        return LiveParts(
            values=self._checkup_values,
            record=self.hearing.record,
            listening=self.hearing.state,
            detector=self.hearing.detector,
            stt=lambda: self.engines.hearing,
            llm=lambda: self.modes.model(STAGE),
            tts=lambda: self.engines.speech,
            character=self._stage_character,
            stage=lambda: Stage(
                self.player.sink,
                self.player.device,
                self.player.volume,
                self.player.is_muted,
                self.listeners.count,
            ),
            without_echo=self.hearing.without_echo,
            database=lambda: storage_checkup.try_out(self.database),
            newest_event=lambda: storage_checkup.newest_event_at(self.database),
            models=self.downloads.list,
            voices=self._all_voices,
            requirements=ROOT / "requirements.txt",
            free_bytes=lambda path: shutil.disk_usage(path).free,
        )

    def _checkup_values(self) -> Values:
        settings = self.engines.settings
        return Values(
            mind=self._wanted_mind(),
            problems=dict(self.engines.problems),
            vad=settings.asr_vad,
            vad_threshold=settings.asr_vad_threshold,
            first_token_s=settings.llm_first_token_timeout_s,
            tts_s=settings.tts_timeout_s,
            folders={
                "the database and sounds": settings.data_dir,
                "voices and models": settings.models_dir,
                "logs": settings.logs_dir,
            },
            wanted_port=settings.api_port,
            is_remote=settings.is_remote,
            is_secure=settings.scheme == "https",
            notices=(*self.loaded.notices, *self.database.notices),
        )

    async def _all_voices(self) -> list[VoiceInfo]:
        return await self.engines.speech.voices()

    def _autonomy_writer(self, conversation_id: str) -> LLM:
        """Who writes what she says unasked: the role's own engine, else whoever answers there."""
        settings = self.engines.settings
        if not (settings.llm_autonomy_provider or settings.llm_autonomy_model):
            return self.modes.model(conversation_id)
        if self._autonomy_llm is None:
            self._autonomy_llm = self.engines.role("autonomy")
        return self._autonomy_llm

    async def _played_character(self, character_id: str) -> Character:
        return self.modes.as_played(await self.characters.get(character_id), STAGE)

    async def _stage_as_played(self) -> Character:
        """Who is on stage, as the mode of the moment plays it."""
        return await self._played_character((await self.chat.conversation(STAGE)).character_id)

    async def _stage_character(self) -> Character:
        return await self.characters.get(self.chat.active_character(STAGE))

    def _tell_service(self, service: ServiceInfo) -> None:
        self.bus.publish(ServiceChanged(service=service))

    def _calm(self, is_calm: bool) -> None:
        """The avatar on stage at rest, or as it would be without the panic."""
        if is_calm:
            character_id = self.chat.active_character(STAGE)
            playing = self.avatar.shown(character_id).motion
            loop = playing if playing is not None and playing.loop else None
            if self._calmed is None or self._calmed[0] != character_id:
                self._calm(False)
                self._calmed = (character_id, loop)
            self.avatar.release(character_id, kind="motion")
            self.avatar.show(character_id, NEUTRAL, owner="panic", priority=PANIC_PRIORITY)
        elif self._calmed is not None:
            (character_id, loop), self._calmed = self._calmed, None
            self.avatar.release(character_id, owner="panic")
            if loop is not None:
                self.avatar.play(
                    character_id,
                    Motion(group=loop.group, index=loop.index, name=loop.name),
                    owner=loop.owner,
                    loop=True,
                    priority=loop.priority,
                )

    def _names_on_stage(self) -> tuple[str, ...]:
        """What viewers call her."""
        character = self.characters.known(self.chat.active_character(STAGE))
        return () if character is None else (character.name,)

    def _show_to_clients(self, message: AudienceMessage) -> None:
        """A viewer's message as it may be shown, to Open-LLM-VTuber clients that showed the token."""
        if not self.clients.has_trusted:
            return
        verdict = self.moderator.check_in(
            message.text, message.viewer, emotes=message.emotes, is_new=False
        )
        if verdict.action in ("ignore", "hold"):
            return  # these clients are on the stream
        name = self.moderator.shown_name(message.viewer)
        at = message.at.isoformat(timespec="milliseconds")
        self.clients.tell_trusted(twitch_chat(name, verdict.text, at))

    def _position_s(self) -> float | None:
        """Where the sound on stage is; None in silence."""
        playing = self.player.now_playing()
        return None if playing is None else playing.position_s

    def _rig_of(self, character_id: str) -> str:
        character = self.characters.known(character_id)
        return self.rigs.of(character).rig.id if character is not None else ""

    def _show_cue(self, cue: Cue, turn_id: str, conversation_id: str) -> None:
        self.cues.fire(cue, turn_id, self.chat.active_character(conversation_id))


def _twitch_settings(settings: Settings) -> TwitchSettings:
    def key(secret: SecretStr | None) -> str:
        return secret.get_secret_value() if secret is not None else ""

    return TwitchSettings(
        addresses=TwitchAddresses(
            settings.twitch_helix_url,
            settings.twitch_oauth_url,
            settings.twitch_eventsub_url,
            settings.twitch_irc_url,
        ),
        given=TwitchGiven(
            Application(settings.twitch_client_id, key(settings.twitch_client_secret)),
            key(settings.twitch_oauth_token),
            key(settings.twitch_refresh_token),
        ),
        channel=settings.twitch_channel,
        nick=settings.twitch_bot_nick,
    )


def _listening_options(settings: Settings) -> ListeningOptions:
    return ListeningOptions(
        mode=settings.asr_mode,
        device=settings.asr_input_device,
        gain_db=settings.asr_gain_db,
        is_muted=settings.asr_muted,
        frame_ms=settings.asr_frame_ms,
        detector=settings.asr_vad,
        rules=Rules(
            threshold=settings.asr_vad_threshold,
            preroll_ms=settings.asr_preroll_ms,
            min_speech_ms=settings.asr_min_speech_ms,
            silence_ms=settings.asr_silence_ms,
            longest_s=settings.asr_max_utterance_s,
        ),
        reads_along=settings.asr_partials,
        language=settings.stt_language,
        guard=settings.asr_guard,
        barge_in=settings.barge_in,
        barge_in_ms=settings.barge_in_ms,
    )


def _autonomy_options(settings: Settings) -> AutonomyOptions:
    return AutonomyOptions(
        gap_s=settings.autonomy_gap_s,
        share=settings.autonomy_share,
        zone=zone_of(settings.autonomy_timezone),
    )


def _training_options(settings: Settings) -> TrainingOptions:
    return TrainingOptions(
        models_dir=settings.models_dir,
        threads=settings.training_threads,
        quick_s=settings.training_minutes * 60,
        keep=settings.training_keep_checkpoints,
    )


def _guard_options(settings: Settings) -> guard.Options:
    return guard.Options(
        allowed_hosts=settings.allowed_hosts,
        origins=settings.cors_origins,
        max_body_bytes=settings.api_max_body_kb << 10,
        max_upload_bytes=settings.api_max_upload_mb << 20,
        max_recordings_bytes=settings.voice_upload_mb << 20,
        max_sockets=settings.api_max_connections,
        max_sockets_per_client=settings.api_max_connections,
        requests_per_s=settings.api_requests_per_minute / 60,
    )


def create_app(loaded: LoadedSettings, *, trainer: Sequence[str] = PROGRAM) -> FastAPI:
    """The backend as an ASGI application; its parts live from the first request's start-up to shut-down.

    Args:
        loaded: The settings.
        trainer: The program that trains voices, command and folder are added.
    """
    settings = loaded.settings
    data_dir = settings.data_dir

    def new_overlay_token() -> str:
        token = rotate_token(data_dir, "overlay_token")
        logs.REDACTOR.add(token)
        return token

    access = guard.Access(
        load_or_create_token(data_dir),
        load_or_create_token(data_dir, "overlay_token"),
        new_overlay_token,
        kept=SessionFile(data_dir / "sessions.json"),
    )

    for name in ("api_token", "overlay_token"):
        logs.REDACTOR.add(load_or_create_token(data_dir, name))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        backend = Backend(loaded, access, trainer)
        app.state.backend = backend
        app.state.services = Services(
            bus=backend.bus,
            database=backend.database,
            events=backend.events,
            characters=backend.characters,
            chat=backend.chat,
            audience=backend.audience,
            viewer_commands=backend.viewer_commands,
            stage_sounds=backend.stage_sounds,
            avatar=backend.avatar,
            rigs=backend.rigs,
            cues=backend.cues,
            engines=backend.engines,
            player=backend.player,
            mouths=backend.mouths,
            listeners=backend.listeners,
            sounds=backend.sounds,
            config=backend.config,
            modules=backend.modules,
            monitor=backend.monitor,
            checkup=backend.checkup,
            hearing=backend.hearing,
            downloads=backend.downloads,
            voices=backend.voices,
            voice_data=backend.voice_data,
            training=backend.training,
            trainings=backend.trainings,
            user_name=lambda: backend.engines.settings.user_name,
            host=backend.host,
            access=access,
            clients=backend.clients,
            panic=backend.panic,
            twitch=backend.twitch,
            modes=backend.modes,
            texts=backend.texts,
            moderator=backend.moderator,
            autonomy=backend.autonomy,
            page_hosts=lambda: settings.allowed_hosts if settings.is_remote else (),
        )
        making: asyncio.Task[None] | None = None
        try:
            await backend.start()
            making = asyncio.create_task(run_in_thread(pages.make_routes, app), name="routes")
            yield
        finally:
            if making is not None:
                await asyncio.wait({making})
            await backend.stop()

    app = FastAPI(
        title="Luma",
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # pages.py serves it: writing it takes a second, and not the loop's
    )
    errors.install(app, debug=lambda: app.state.backend.engines.settings.debug)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(
        guard.Guard,
        access=access,
        options=_guard_options(settings),
        lets_clients_in=lambda: app.state.backend.engines.settings.compatible_clients,
        signed_out=webui.signed_out_page(),
    )
    return app
