"""Names for settings where those of .env read badly, under headings in the order a person looks for them."""

from __future__ import annotations

HEARING: dict[str, dict[str, str]] = {
    "Microphone": {
        "ASR_MODE": "Listen",
        "ASR_INPUT_DEVICE": "Microphone",
        "ASR_GAIN_DB": "Gain (dB)",
        "ASR_MUTED": "Muted",
    },
    "When you have finished": {
        "ASR_SILENCE_MS": "Silence that ends it (ms)",
        "ASR_MIN_SPEECH_MS": "Shortest speech (ms)",
        "ASR_MAX_UTTERANCE_S": "Longest speech (s)",
        "ASR_PREROLL_MS": "Kept from before (ms)",
        "ASR_VAD": "Voice detector",
        "ASR_VAD_THRESHOLD": "Sure enough that it is speech",
        "ASR_PARTIALS": "Read along",
        "THINK_AHEAD": "Think ahead",
    },
    "While she speaks": {
        "ASR_GUARD": "Her own voice",
        "BARGE_IN": "Speaking interrupts her",
        "BARGE_IN_MS": "Speech that interrupts (ms)",
        "DUCK_VOLUME": "Quieter meanwhile",
    },
    "Reading what was said": {
        "STT_CHAIN": "Recognisers",
        "STT_LANGUAGE": "Language",
        "STT_TIMEOUT_S": "Longest wait (s)",
        "WHISPER_MODEL": "Whisper model",
        "STT_OPENAI_URL": "Server: address",
        "STT_OPENAI_KEY": "Server: key",
        "STT_OPENAI_MODEL": "Server: model",
    },
    "Inside": {
        "ASR_FRAME_MS": "Sound handed on at a time (ms)",
        "SAMPLE_RATE": "Sample rate (Hz)",
        "CHANNELS": "Channels",
        "ASR_FAKE_AUDIO": "File instead of a microphone",
    },
}
"""The group "Hearing" as a person looks for it: headings in order, and what each setting is called there."""
MODES: dict[str, dict[str, str]] = {
    "": {"BACKEND_MODE": "Who answers"},
    "Orphiq server": {
        "ORPHIQ_WEBSOCKET_URL": "Address of the server",
        "ORPHIQ_TOKEN": "Token",
        "ORPHIQ_CONNECT_TIMEOUT_S": "Longest wait for it (s)",
        "ORPHIQ_FIRST_TIMEOUT_S": "For its first sentence (s)",
        "ORPHIQ_SENTENCE_TIMEOUT_S": "Between sentences (s)",
    },
    "External API": {
        "EXTERNAL_API_PROVIDER": "Provider",
        "EXTERNAL_API_KEY": "Key",
        "EXTERNAL_API_ENDPOINT": "Address",
        "EXTERNAL_API_MODEL": "Model",
    },
    "Autonomous": {
        "AUTONOMOUS_PERSONALITY": "Personality",
        "AUTONOMOUS_TRIGGERS": "May speak unasked",
        "AUTONOMOUS_LOCAL_LLM": "A local model may answer",
        "AUTONOMOUS_CACHE_REPLIES": "Replies kept for next time",
    },
}
"""The group "Modes", likewise."""
AUDIENCE: dict[str, dict[str, str]] = {
    "Twitch": {
        "TWITCH_CHANNEL": "Channel",
        "TWITCH_CLIENT_ID": "Client id of your application",
        "TWITCH_CLIENT_SECRET": "Client secret (not needed)",
        "TWITCH_OAUTH_TOKEN": "Token",
        "TWITCH_REFRESH_TOKEN": "Refresh token",
        "TWITCH_BOT_NICK": "Another name of hers",
        "TWITCH_HELIX_URL": "Address: API",
        "TWITCH_OAUTH_URL": "Address: login",
        "TWITCH_EVENTSUB_URL": "Address: events",
        "TWITCH_IRC_URL": "Address: chat",
    },
    "Moderation": {
        "MODERATION_PROFILE": "Profile",
        "MODERATION_FAMILY": "Family-friendly",
        "MODERATION_LLM": "Ask a language model too",
        "MODERATION_LLM_TIMEOUT_S": "Longest wait for it (s)",
        "MODERATION_LLM_FAILS": "Without its answer",
    },
    "Autonomy": {
        "AUTONOMY_GAP_S": "Between two things of her own (s)",
        "AUTONOMY_SHARE": "Her share while viewers wait",
        "AUTONOMY_TEXTS_PER_MINUTE": "Texts a model writes her (a minute)",
        "AUTONOMY_TIMEZONE": "Time zone",
    },
}
"""What the settings of a live audience are called; their groups have these headings already."""
INSIDE = "Inside"
TITLES = {
    name: title
    for group in (HEARING, MODES, AUDIENCE)
    for names in group.values()
    for name, title in names.items()
}
CHOICES = {
    "ASR_MODE": {"off": "Off", "push_to_talk": "Push to talk", "open": "Open microphone"},
    "ASR_GUARD": {
        "guard": "Tell my voice from hers",
        "strict": "Do not listen while she speaks",
        "headphones": "Headphones: listen to everything",
    },
    "BACKEND_MODE": {
        "auto": "Luma chooses",
        "orphiq": "Orphiq server",
        "external-api": "External API",
        "autonomous": "Autonomous",
    },
    "MODERATION_LLM": {
        "off": "No",
        "in": "About what viewers write",
        "out": "About what she says",
        "both": "About both",
    },
    "MODERATION_LLM_FAILS": {"open": "A text passes", "closed": "A text is stopped"},
    "EXTERNAL_API_PROVIDER": {"": "as LLM_PROVIDER says", "custom": "A server of your own"},
    "ASR_VAD": {"silero": "Silero (learned)", "energy": "Energy (loudness only)"},
}
