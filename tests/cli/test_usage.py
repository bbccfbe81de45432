"""One style for all errors of the command line, and how each ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from hvdtrain.cli.main import main
from hvdtrain.cli.usage import explain_usage


class Ended(NamedTuple):
    """How the program ended, and what it wrote."""

    code: object
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the program in this process: it has many ways to go wrong, and takes time to start."""

    def run_words(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hvdtrain", *words])
        with pytest.raises(SystemExit) as exited:
            main()
        return Ended(exited.value.code or 0, *capsys.readouterr())

    return run_words


@pytest.mark.parametrize(
    ("line", "first", "fix"),
    [
        ("predict --nods 4", "option: '--nods' is not possible: one of --accumulate, ", "--nodes"),
        (
            "predictt",
            "command: 'predictt' is not possible: one of render-job, predict, cores, ",
            "predict",
        ),
        (
            "plot scalin",
            "command: 'scalin' is not possible: one of accuracy, scaling, schedule, timeline",
            "scaling",
        ),
        (
            "predict --nodes abc",
            "--nodes: 'abc' is not possible: a whole number, at least 1",
            "see hvdtrain predict --help",
        ),
        (
            "predict --nodes 0",
            "--nodes: 0 is not possible: a whole number, at least 1",
            "--nodes 1",
        ),
        (
            "predict --nodes",
            "--nodes: missing: a whole number, at least 1",
            "see hvdtrain predict --help",
        ),
        (
            "predict --json=yes",
            "--json: 'a value' is not possible: the option alone, without a value",
            "--json",
        ),
        (
            "schedule linear-90",
            "--global-batch: missing: a whole number from 1 to 1281167",
            "see hvdtrain schedule --help",
        ),
        (
            "schedule linear-90 --global-batch 2000000",
            "--global-batch: 2000000 is not possible: a whole number from 1 to 1281167",
            "--global-batch 1281167",
        ),
        (
            "cores --format pictur",
            "--format: 'pictur' is not possible: one of picture, json, sh",
            "--format picture",
        ),
        ("attempt bgin", "MOMENT: 'bgin' is not possible: one of begin, end", "begin"),
        ("attempt", "MOMENT: missing: one of begin, end", "see hvdtrain attempt --help"),
        (
            "collapse /no/such/run",
            "RUN: '/no/such/run' is not possible: a folder that exists",
            "see hvdtrain collapse --help",
        ),
        (
            "train --checkpoint-minutes 0",
            "--checkpoint-minutes: 0.0 is not possible: a number, above 0",
            "see hvdtrain train --help",
        ),
        (
            "systems one two",
            "argument: 'two' is not possible: hvdtrain systems [OPTIONS] [NAME]",
            "see hvdtrain systems --help",
        ),
    ],
)
def test_an_error_of_clicks_names_what_why_and_what_to_do(
    line: str, first: str, fix: str, run: Run
) -> None:
    done = run(*line.split())
    assert done.code == 2
    assert done.out == ""
    said = done.err.splitlines()
    assert said[0].startswith(f"hvdtrain: {first}")
    assert said[1:] == [f"  fix: {fix}"]


def test_a_value_with_quotes_and_escapes_is_shown_whole_and_does_nothing(run: Run) -> None:
    done = run("predict", "--nodes", "a'\"\x1b[31m b")
    assert done.code == 2
    assert done.err.splitlines()[0] == (
        "hvdtrain: --nodes: 'a\\'\"\\x1b[31m b' is not possible: a whole number, at least 1"
    )


def test_what_click_may_say_besides_still_comes_out_in_this_style() -> None:
    error = explain_usage(click.UsageError("The moon is full."))
    assert str(error) == (
        "usage: 'The moon is full.' is not possible: what --help shows\n  fix: see hvdtrain --help"
    )


def test_without_a_command_the_help_is_for_people_and_the_exit_code_an_error(run: Run) -> None:
    done = run()
    assert done.code == 2
    assert done.out == ""
    assert "Submit and watch:" in done.err


def test_version_and_help_end_well_on_stdout(run: Run) -> None:
    for words in (["--version"], ["--help"], ["predict", "-h"]):
        done = run(*words)
        assert (done.code, done.err) == (0, "")
        assert done.out


def test_ctrl_c_ends_a_command_as_a_signal_does_and_without_a_traceback(tmp_path: Path) -> None:
    program = (
        "import sys, click, hvdtrain.commands.systems as systems\n"
        "from hvdtrain.cli.main import main\n"
        "def wait(**_):\n    print('here', flush=True)\n    import time\n    time.sleep(60)\n"
        "systems.command.callback = wait\n"
        "sys.argv[1:] = ['systems']\n"
        "main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        cwd=tmp_path,
        env=os.environ,
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "here\n"
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=30)
    assert started.returncode == 130
    assert said.split("\n") == ["", "hvdtrain: ended by Ctrl-C", ""]
