"""When the ranks hang, the notes are all that is left to find out who is missing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hvdtrain.train.preflight.notes import STAGES, Note, Notes, describe_silence


def test_every_rank_sees_how_far_the_others_are(tmp_path: Path) -> None:
    folder = tmp_path / "results" / ".preflight-run"
    first, second = Notes(folder, 0, "n1"), Notes(folder, 1, "n2")
    first.reach(0)
    first.reach(3)
    second.reach(1)
    assert first.read() == second.read() == {0: Note(3, "n1"), 1: Note(1, "n2")}


def test_notes_of_an_earlier_preflight_do_not_count(tmp_path: Path) -> None:
    Notes(tmp_path, 1, "n2").reach(2)
    an_hour_ago = time.time() - 3600
    os.utime(tmp_path / "1", (an_hour_ago, an_hour_ago))
    notes = Notes(tmp_path, 0, "n1")
    notes.reach(0)
    assert notes.read() == {0: Note(0, "n1")}


def test_one_rank_speaks_and_the_next_preflight_can_speak_again(tmp_path: Path) -> None:
    ranks = [Notes(tmp_path, rank, "n1") for rank in range(3)]
    assert [rank.claim_word() for rank in ranks] == [True, False, False]
    assert Notes(tmp_path, 1, "n1").claim_word()


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = tmp_path / ".preflight-run"
    notes = Notes(folder, 0, "n1")
    notes.reach(0)
    notes.claim_word()
    notes.remove()
    assert not folder.exists()


def test_a_rank_makes_one_file_however_far_it_comes(tmp_path: Path) -> None:
    notes = Notes(tmp_path, 7, "n1")
    notes.reach(0)
    file = (tmp_path / "7").stat().st_ino
    for stage in range(1, len(STAGES)):
        notes.reach(stage)
        assert Notes(tmp_path, 0, "n1").read() == {7: Note(stage, "n1")}
    assert os.listdir(tmp_path) == ["7"]
    assert (tmp_path / "7").stat().st_ino == file


def test_a_longer_note_of_an_earlier_preflight_leaves_nothing_in_a_new_one(tmp_path: Path) -> None:
    Notes(tmp_path, 0, "a-very-long-name-of-a-host").reach(3)
    notes = Notes(tmp_path, 0, "n1")
    notes.reach(0)
    assert notes.read() == {0: Note(0, "n1")}


def test_a_note_that_is_just_being_made_is_not_read(tmp_path: Path) -> None:
    notes = Notes(tmp_path, 0, "n1")
    notes.reach(1)
    (tmp_path / "1").touch()
    (tmp_path / "2").write_text("3 n")
    assert notes.read() == {0: Note(1, "n1")}


def test_one_of_all_ranks_removes_the_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".preflight-run"
    ranks = [Notes(folder, rank, "n1") for rank in range(3)]
    for notes in ranks:
        notes.reach(0)
    listed: list[object] = []
    real = os.listdir

    def listdir(path: Path) -> list[str]:
        listed.append(path)
        if len(listed) == 1:  # the others come while the first is at it
            for notes in ranks[1:]:
                notes.remove()
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    for notes in ranks:
        notes.remove()
    assert listed == [folder]
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notes = [Notes(tmp_path / "file" / "folder", rank, "n1") for rank in (0, 1)]
    for note in notes:
        note.reach(0)
    assert notes[0].read() == {}
    assert [note.claim_word() for note in notes] == [True, False]


@pytest.mark.parametrize(
    ("notes", "ranks", "expected"),
    [
        ({0: Note(0, "n1")}, 3, "2 of 3 ranks did not start: 1, 2"),
        ({}, 2, "2 of 2 ranks did not start: 0, 1"),
        (
            {0: Note(4, "n1"), 1: Note(3, "n2"), 2: Note(4, "n3")},
            3,
            f"1 of 3 ranks did not answer: 1 on n2: {STAGES[3]}",
        ),
        (
            {0: Note(3, "n1"), 1: Note(3, "n2")},
            2,
            f"all 2 ranks are at the same point: {STAGES[3]}",
        ),
        ({0: Note(0, "n1")}, 12, "11 of 12 ranks did not start: 1, 2, 3, 4, 5, 6, 7, 8 and 3 more"),
    ],
)
def test_those_who_did_not_answer_are_named(
    notes: dict[int, Note], ranks: int, expected: str
) -> None:
    assert describe_silence(notes, ranks) == expected
