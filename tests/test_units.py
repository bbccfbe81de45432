"""Durations and processor lists, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.errors import InputError
from hvdtrain.units import (
    format_cpu_list,
    format_duration,
    format_walltime,
    parse_cpu_list,
    parse_walltime_min,
)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("30", 30),
        ("2:00:00", 120),
        ("02:30:00", 150),
        ("48:00:00", 2880),
        ("1:30", 2),
        ("90:00", 90),
        ("0:01", 1),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("2-00:00:00", 2880),
        ("2-00:00:01", 2881),
    ],
)
def test_a_walltime_means_what_slurm_means(text: str, minutes: int) -> None:
    assert parse_walltime_min(text) == minutes


@pytest.mark.parametrize(
    "text", ["", "0", "0:00", "00:00:00", "abc", "1:60:00", "1h", "-5", "1-", " 30", "30\n", "٣٠"]
)
def test_what_is_no_walltime_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_walltime_min(text, "--walltime")
    assert caught.value.field == "--walltime"


@given(st.integers(1, 500_000))
def test_a_walltime_survives_formatting(minutes: int) -> None:
    assert parse_walltime_min(format_walltime(minutes)) == minutes


def test_a_walltime_of_a_day_and_more_has_a_day() -> None:
    assert [format_walltime(m) for m in (51, 1439, 1440, 7200)] == [
        "00:51:00",
        "23:59:00",
        "1-00:00:00",
        "5-00:00:00",
    ]


@given(st.sets(st.integers(0, 300)))
def test_a_processor_list_survives_formatting(cpus: set[int]) -> None:
    assert parse_cpu_list(format_cpu_list(cpus)) == tuple(sorted(cpus))


def test_processor_lists_are_the_kernels() -> None:
    assert format_cpu_list([45, *range(22), 24, *range(25, 45)]) == "0-21,24-45"
    assert parse_cpu_list("0-3,8\n") == (0, 1, 2, 3, 8)


@pytest.mark.parametrize("text", ["3-1", "a", "1,,2", "1-", "-1", "1;2"])
def test_what_is_no_processor_list_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_cpu_list(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(16.8, "16.8 s"), (1680, "28 min"), (11520, "3.2 h"), (1_874_880, "21.7 d")],
)
def test_a_duration_is_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
