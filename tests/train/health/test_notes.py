"""When the ranks hang, the notes are all that is left to find out who is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvdtrain.train.health.notes import Note, Notes, describe_hang, describe_start, notes_folder


def note(host: str, doing: str = "step 7", count: int = 5, **more: object) -> Note:
    return Note(host=host, doing=doing, count=count, **more)  # type: ignore[arg-type]


def test_every_rank_sees_how_far_the_others_are(tmp_path: Path) -> None:
    folder = tmp_path / ".ranks-1"
    first, second = Notes(folder, 0, 2), Notes(folder, 1, 2)
    first.leave(note("n1", "step 6"))
    first.leave(note("n1"))
    second.leave(note("n2", count=4))
    assert first.read() == second.read() == {0: note("n1"), 1: note("n2", count=4)}
    second.take_back()
    assert first.read() == {0: note("n1")}


def test_all_are_ready_when_rank_0_has_counted_them(tmp_path: Path) -> None:
    ranks = [Notes(tmp_path / "notes", rank, 3) for rank in range(3)]
    for rank in ranks:
        rank.leave(note("n1"))
    for rank in ranks[:2]:
        rank.be_ready()
    assert [rank.are_all_ready() for rank in ranks] == [False, False, False]
    assert ranks[0].ready() == {0, 1}
    ranks[2].be_ready()
    assert [rank.are_all_ready() for rank in ranks] == [True, True, True]


def test_one_rank_speaks(tmp_path: Path) -> None:
    ranks = [Notes(tmp_path, rank, 3) for rank in range(3)]
    assert [rank.claim_word() for rank in ranks] == [True, False, False]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = tmp_path / ".ranks-1"
    notes = Notes(folder, 0, 1)
    notes.leave(note("n1"))
    notes.be_ready()
    assert notes.are_all_ready()
    notes.claim_word()
    notes.remove()
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notes = [Notes(tmp_path / "file" / "folder", rank, 2) for rank in (0, 1)]
    for each in notes:
        each.leave(note("n1"))
        each.be_ready()
        assert not each.are_all_ready()
    assert (notes[0].read(), notes[0].ready()) == ({}, frozenset())
    assert [each.claim_word() for each in notes] == [True, False]


def test_a_rank_alone_needs_no_notes() -> None:
    notes = Notes(None, 0, 1)
    notes.leave(note("n1"))
    assert notes.are_all_ready()
    assert (notes.read(), notes.claim_word()) == ({}, True)


def test_notes_lie_where_a_folder_is(tmp_path: Path) -> None:
    assert notes_folder(tmp_path, "ab") == tmp_path / ".ranks-ab"
    assert notes_folder(tmp_path / "no" / "results", "ab") == tmp_path / ".ranks-ab"


@pytest.mark.parametrize(
    ("notes", "ready", "ranks", "expected"),
    [
        ({0: note("n1")}, {0}, 3, "2 of 3 ranks did not start: 1, 2"),
        ({}, set(), 2, "2 of 2 ranks did not start: 0, 1"),
        (
            {0: note("n1")},
            {0},
            12,
            "11 of 12 ranks did not start: 1, 2, 3, 4, 5, 6, 7, 8 and 3 more",
        ),
        (
            {0: note("n1"), 1: note("n2", "loading TensorFlow")},
            {0},
            2,
            "1 of 2 ranks are not ready: 1 on n2: loading TensorFlow",
        ),
        (
            {0: note("n1"), 1: note("n2", "loading TensorFlow")},
            {0},
            3,
            "1 of 3 ranks did not start: 2; "
            "1 of 3 ranks are not ready: 1 on n2: loading TensorFlow",
        ),
        (
            {0: note("n1", "starting MPI"), 1: note("n2", "starting MPI")},
            {0, 1},
            2,
            "all 2 ranks are at the same point: starting MPI",
        ),
    ],
)
def test_those_who_did_not_come_are_named(
    notes: dict[int, Note], ready: set[int], ranks: int, expected: str
) -> None:
    assert describe_start(notes, frozenset(ready), ranks) == expected


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        # All stand in the same update, and the kernel has stopped one of them.
        (
            {0: note("n1"), 1: note("n2", state="stopped by a signal"), 2: note("n3")},
            "rank 1 on n2 (stopped by a signal): step 7",
        ),
        # It waits for nobody, and does not come back.
        (
            {
                0: note("n1"),
                1: note("n2", "the images of step 7", 4, alone=True, hangs=True),
                2: note("n3"),
            },
            "rank 1 on n2: the images of step 7",
        ),
        # The others are busy elsewhere, and may not have answered.
        (
            {1: note("n2", "the evaluation", alone=True, hangs=True)},
            "rank 1 on n2: the evaluation",
        ),
        (
            {
                0: note("n1", "the evaluation", 4, alone=True),
                1: note("n2", "step 6", 3, hangs=True),
                2: note("n3", "the evaluation", 4, alone=True),
            },
            "rank 1 on n2: step 6",
        ),
        (
            {0: note("n1"), 1: note("n2")},
            "no answer from rank 2 on n3; the others wait in step 7",
        ),
        (
            {0: note("n1"), 1: note("n2", "step 6", 4), 2: note("n3")},
            "rank 1 on n2: step 6",
        ),
        (
            {rank: note(f"n{rank + 1}") for rank in range(3)},
            "all 3 ranks are at the same point: step 7",
        ),
    ],
)
def test_the_rank_that_the_others_wait_for_is_named(notes: dict[int, Note], expected: str) -> None:
    assert describe_hang(notes, ["n1", "n2", "n3"]) == expected
