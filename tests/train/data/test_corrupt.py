"""What is said of corrupt images."""

from __future__ import annotations

import pytest

from hvdtrain.errors import RunError
from hvdtrain.train.data.corrupt import CorruptLog, default_max_corrupt, explain

pytestmark = pytest.mark.tf


def test_the_limit_is_a_thousandth_but_at_least_ten() -> None:
    assert [default_max_corrupt(n) for n in (1, 10_999, 11_000, 1_281_167)] == [10, 10, 11, 1281]


def test_each_is_named_and_the_one_above_the_limit_ends_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = CorruptLog("training", lambda example: f"image {example}", limit=2)
    log.add(5, "cut off")
    log.add(6, "empty")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "hvdtrain: corrupt training image skipped: image 5: cut off",
        "hvdtrain: corrupt training image skipped: image 6: empty",
    ]
    with pytest.raises(RunError, match="3 corrupt training images") as caught:
        log.add(7, "empty")
    assert "image 5\n  image 6\n  image 7" in str(caught.value)


def test_the_same_image_counts_once() -> None:
    log = CorruptLog("training", str, limit=1)
    log.add(5, "")
    log.add(5, "")
    assert log.examples == {5}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            "Graph execution error:\n\nDetected at node D defined at (most recent call last):\n"
            '  File "t.py", line 8, in f\n\nInvalid JPEG data.\n\t [[{{node D}}]] [Op:__inf_f_8]',
            "Invalid JPEG data",
        ),
        (
            "{{function_node a}} {{function_node b}} corrupted record at 5 [Op:y] name: ",
            "corrupted record at 5",
        ),
        ("", "ValueError"),
    ],
)
def test_a_reason_is_one_line_without_internals(message: str, text: str) -> None:
    assert explain(ValueError(message)) == text
