"""`~` and variables in paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvdtrain.errors import InputError
from hvdtrain.files.paths import expand_path


@pytest.fixture(autouse=True)
def _environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.delenv("WORK", raising=False)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("~/i", "/home/me/i"),
        ("~", "/home/me"),
        ("~root/i", "/root/i"),
        ("a/~/i", "a/~/i"),
        ("./~", "./~"),
        ("i", "i"),
        ("/i", "/i"),
        # No shell would take these for variables either.
        ("price$", "price$"),
        ("$5", "$5"),
        ("a$ b", "a$ b"),
    ],
)
def test_the_home_folder(given: str, meant: str) -> None:
    assert expand_path("--data", given) == meant


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ("$SCRATCH/i", "here it stands for /scratch/me/i"),
        ("${SCRATCH}/i", "here it stands for /scratch/me/i"),
        ("${SCRATCH:-x}/i", "here it stands for /scratch/me/i"),
        ("/x/$WORK", "WORK is not set here"),
    ],
)
def test_a_variable_is_refused_and_its_value_named(given: str, fix: str) -> None:
    with pytest.raises(InputError) as caught:
        expand_path("--data", given)
    assert (caught.value.field, caught.value.value, caught.value.fix) == ("--data", given, fix)


def test_a_name_that_is_there_is_no_variable(tmp_path: Path) -> None:
    run = tmp_path / "run_$SCRATCH"
    with pytest.raises(InputError, match="SCRATCH"):
        expand_path("RUN", str(run))
    run.mkdir()
    assert expand_path("RUN", str(run)) == str(run)
