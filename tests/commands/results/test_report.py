"""`hvdtrain report` from the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands.results.report import command
from hvdtrain.errors import InputError, RunError
from tests.collect.records import make_record, write_record


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_record(tmp_path / "results", make_record("good"))
    return tmp_path / "results"


def test_the_page_goes_to_its_file_and_nothing_to_stdout(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    result = invoke(results, "-o", path)
    assert result.stdout == ""
    assert result.stderr == f"hvdtrain: wrote {path}; runs: 1\n"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.rstrip().endswith("</html>")
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["report.html"]


def test_a_dash_is_standard_output(results: Path) -> None:
    result = invoke(results, "-o", "-")
    assert result.stdout.startswith("<!DOCTYPE html>")
    assert result.stderr == ""


def test_what_cannot_be_read_is_named_and_the_page_is_written(
    results: Path, tmp_path: Path
) -> None:
    write_record(results, make_record("bad")).write_text("{")
    path = tmp_path / "report.html"
    with pytest.raises(RunError, match="1 of 2 runs were skipped"):
        invoke(results, "-o", path)
    assert "bad/record.json" in path.read_text()


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "No runs yet" in invoke(tmp_path / "empty", "-o", "-").stdout


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("missing", "-o", "-"), "RESULTS"),
        (("missing", "--serve", "0"), "RESULTS"),
        (("results",), "--output"),
        (("results", "-o", "x.html", "--serve"), "--output"),
        (("results", "-o", "missing/x.html"), "--output"),
    ],
)
def test_the_impossible_is_refused(
    results: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], field: str
) -> None:
    monkeypatch.chdir(results.parent)
    with pytest.raises(InputError) as caught:
        invoke(*words)
    assert caught.value.field == field
    assert sorted(path.name for path in results.parent.iterdir()) == ["results"]


@pytest.mark.parametrize("ends_with", [signal.SIGINT, signal.SIGTERM])
def test_serving_ends_with_a_signal(results: Path, ends_with: signal.Signals) -> None:
    command_line = [sys.executable, "-m", "hvdtrain", "report", str(results), "--serve", "0"]
    with subprocess.Popen(
        command_line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stderr is not None and process.stdout is not None
        said = process.stderr.readline()
        address = said.split(" is at ")[1].split()[0]
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"<h3>good</h3>" in answer.read()
        process.send_signal(ends_with)
        assert process.wait(60) == 0
        assert process.stdout.read() == ""
        assert process.stderr.read() == "hvdtrain: ended\n"


def test_the_help_ends_with_an_example() -> None:
    assert invoke("--help").stdout.rstrip().splitlines()[-2].strip() == "Example:"
