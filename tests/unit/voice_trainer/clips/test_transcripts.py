"""Transcripts in every shape they come in, matched with recordings by name."""

from __future__ import annotations

import pytest

from voice_trainer.clips.transcripts import (
    TranscriptError,
    decoded,
    key_of,
    read_all,
    read_cues,
    read_table,
)
from voice_trainer.protocol import UploadSpec


def sound(name: str) -> UploadSpec:
    return UploadSpec(id=name, path=f"/nowhere/{name}", filename=name)


def listed(tmp_path, name: str, content: str | bytes) -> UploadSpec:
    path = tmp_path / "list"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return UploadSpec(id="list", path=str(path), filename=name, kind="transcripts")


def texts(entries) -> list[tuple[str, str]]:
    return [(one.name, one.text) for one in entries]


def test_ljspeech_gives_the_normalized_text():
    found = read_table(
        'LJ001-0001|Printing, in 1900, "so|Printing, in nineteen hundred, "so\nLJ001-0002|b b|\n'
    )
    assert texts(found) == [
        ("LJ001-0001", 'Printing, in nineteen hundred, "so'),
        ("LJ001-0002", "b b"),
    ]


def test_two_columns_are_file_and_text():
    assert texts(read_table("a.wav|One.\nb.wav|Two, three.\n")) == [
        ("a.wav", "One."),
        ("b.wav", "Two, three."),
    ]


def test_a_column_of_few_names_between_file_and_text_is_the_speaker():
    found = read_table(
        "wavs/a.wav|mia|Hello there.\nwavs/b.wav|mia|Good bye now.\nwavs/c.wav|tom|Yes, please."
    )
    assert [(one.speaker, one.text) for one in found] == [
        ("mia", "Hello there."),
        ("mia", "Good bye now."),
        ("tom", "Yes, please."),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_headings_say_which_column_is_what(delimiter):
    rows = [
        ("Emotion", "Transcript", "File Name", "Speaker"),
        ("happy", "Hello there.", "a.wav", "Mia"),
    ]
    (found,) = read_table("\n".join(delimiter.join(row) for row in rows))
    assert (found.name, found.text, found.speaker, found.emotion) == (
        "a.wav",
        "Hello there.",
        "Mia",
        "happy",
    )


def test_quoted_cells_hold_delimiters_and_quotes():
    (found,) = read_table('file,text\na.wav,"Well, she said ""no"", and left."\n')
    assert found.text == 'Well, she said "no", and left.'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_every_usual_encoding_is_read(encoding):
    assert decoded("datei;text\na.wav;Schöne Grüße, über alles\n".encode(encoding)).lstrip(
        "\ufeff"
    ) == ("datei;text\na.wav;Schöne Grüße, über alles\n")


@pytest.mark.parametrize("data", [b"\x7fELF\0\0\1\2" * 100, b"RIFF\x24\0\0\0WAVE"])
def test_what_is_no_text_is_refused(data):
    with pytest.raises(TranscriptError, match="no text"):
        decoded(data)


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("LJ001-0001", "lj001-0001.WAV"),
        ("wavs/a.wav", "a.flac"),
        ("C:\\Users\\me\\a.wav", "A.mp3"),
        ("../../etc/a", "a.wav"),
        ("Cafe\u0301.wav", "CAFÉ.ogg"),
        ("take.1", "take.1.wav"),
    ],
)
def test_names_match_whatever_folder_case_or_ending_they_have(name, recording):
    assert key_of(name) == key_of(recording)


def test_texts_find_their_recordings_and_the_others_are_reported(tmp_path):
    table = listed(
        tmp_path, "metadata.csv", "a|Hello there.\ngone|Nobody.\n../../../etc/passwd|Root.\n"
    )
    book = read_all([sound("A.wav"), sound("b.wav"), table])
    assert book.of(sound("A.wav")).text == "Hello there."
    assert book.of(sound("b.wav")) is None
    assert book.texts_of(table) == 3
    (warning,) = book.unmatched()
    assert warning.startswith("metadata.csv: 2 of 3 lines")
    assert "gone" in warning


def test_a_text_beside_a_sound_belongs_to_it(tmp_path):
    book = read_all([sound("take 1.wav"), listed(tmp_path, "Take 1.txt", "Hello\nthere.\n")])
    assert book.of(sound("take 1.wav")).text == "Hello there."


def test_two_texts_for_one_file_are_told_and_the_first_counts(tmp_path):
    book = read_all([sound("a.wav"), listed(tmp_path, "m.csv", "a|One one.\na|Two two.\nb|x y.\n")])
    assert book.of(sound("a.wav")).text == "One one."
    assert any("another text" in line for line in book.unmatched())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.csv", "", "empty"),
        ("m.csv", "just words\nwithout columns\n", "no columns"),
        ("m.csv", b"\x89PNG\0\0\0\0" * 9, "no text"),
        ("m.srt", "no times here", "no subtitles"),
        ("a.txt", "\n \n", "empty"),
        ("m.csv", "file,text\n", "no line"),
        ("m.csv", b"\xff\xfe", "empty"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_by_name(tmp_path, name, content, words):
    upload = listed(tmp_path, name, content)
    problem = read_all([sound("a.wav"), upload]).problems["list"]
    assert problem.startswith(name)
    assert words in problem
    assert str(tmp_path) not in problem


def test_a_list_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("a|the secret words")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "secret")
    upload = UploadSpec(id="list", path=str(link), filename="m.csv", kind="transcripts")
    book = read_all([sound("a.wav"), upload])
    assert "no plain file" in book.problems["list"]
    assert book.of(sound("a.wav")) is None


def test_control_characters_do_not_reach_texts():
    (found,) = read_table("a.wav|Hello\x1b[31m \x00there\u202e.")
    assert found.text == "Hello [31m there ."


SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello there,</i>

2
00:00:02,600 --> 00:00:04,000
{\\an8}my friend.

3
00:00:05,000 --> 00:00:07,000
[music]

4
00:01:00.500 --> 00:01:03.250
How are
you?
"""


def test_subtitles_become_sentences_with_times():
    found = read_cues(SRT)
    assert [(one.start_s, one.end_s, one.text) for one in found] == [
        (1.0, 4.0, "Hello there, my friend."),
        (60.5, 63.25, "How are you?"),
    ]


def test_webvtt_is_read_too():
    found = read_cues("WEBVTT\n\n00:01.000 --> 00:04.000 align:start\n<v Mia>Hello there.\n")
    assert [(one.start_s, one.text) for one in found] == [(1.0, "Hello there.")]


def test_cues_that_overlap_do_not_share_sound():
    found = read_cues(
        "1\n00:00:01,000 --> 00:00:05,000\nOne and one.\n\n2\n00:00:04,000 --> 00:00:09,000\nTwo and two.\n"
    )
    assert [(one.start_s, one.end_s) for one in found] == [(1.0, 5.0), (5.0, 9.0)]


@pytest.mark.parametrize("name", ["film.srt", "film.en.srt", "other.srt"])
def test_subtitles_belong_to_the_sound_of_their_name_or_to_the_only_one(tmp_path, name):
    book = read_all([sound("film.mp4"), listed(tmp_path, name, SRT)])
    assert len(book.cues_of(sound("film.mp4"))) == 2


def test_subtitles_of_nobody_are_reported(tmp_path):
    book = read_all([sound("a.wav"), sound("b.wav"), listed(tmp_path, "other.srt", SRT)])
    assert book.unmatched() == [
        "other.srt: no recording has this name, so its 2 subtitles were not used."
    ]
