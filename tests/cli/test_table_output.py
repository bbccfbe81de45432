"""Tables on a terminal of a certain width, and in a pipe."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from hvdtrain.cli.table_output import draw_tables
from hvdtrain.collect.tables.table import Column, Table
from hvdtrain.resources import resource_folder
from tests.collect.records import make_record, make_test_plan, write_record
from tests.collect.report.samples import write_results

LONG = "hvdtrain-stampede2-knl-1536n-b49152-20261121-114500"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal") / "results"
    folder.mkdir()
    write_results(folder)
    plan = make_test_plan(nodes=1536)
    write_record(folder, make_record(LONG, plan=plan, images_per_second=77_342.0))
    return folder


def on_terminal(words: str, width: int, results: Path) -> list[str]:
    """The lines that a terminal of so many columns gets."""
    words = words.format(jobs=resource_folder("jobs"), results=results)
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environ = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "hvdtrain", *words.split()],
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        env={**environ, "TERM": "xterm-256color"},
    )
    os.close(terminal)
    data = b""
    try:
        # At the end of the last process that has the terminal, reading fails.
        while part := os.read(master, 65536):
            data += part
    except OSError:
        pass
    os.close(master)
    process.wait(60)
    return _STYLE.sub("", data.decode()).replace("\r\n", "\n").splitlines()


def in_pipe(words: str, results: Path) -> str:
    words = words.format(jobs=resource_folder("jobs"), results=results)
    return subprocess.run(
        [sys.executable, "-m", "hvdtrain", *words.split()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout


TABLES = (
    ("collect {results}", "efficiency"),
    pytest.param("collect {results} --table all", "Table VIII", marks=pytest.mark.slow),
    pytest.param(
        "collect {results} --group-by system --group-by nodes", "runs", marks=pytest.mark.slow
    ),
    ("collect {results} --compare {results}", "verdict"),
    ("systems", "submit to"),
    ("predict --nodes 256 --nodes 1536", "node-hours"),
    pytest.param("predict --validate", "fitted", marks=pytest.mark.slow),
    ("status --results {results}", "why"),
    pytest.param(
        "sweep {jobs}/sweeps/table-05.toml --dry-run", "node-hours", marks=pytest.mark.slow
    ),
    pytest.param(
        "schedule collapsed-ensemble-120 --global-batch 4096", "phase", marks=pytest.mark.slow
    ),
)


@pytest.mark.parametrize("width", [80, pytest.param(120, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("words", "heading"), TABLES)
def test_no_line_is_wider_than_the_terminal(
    words: str, heading: str, width: int, results: Path
) -> None:
    lines = on_terminal(words, width, results)
    assert any(heading in line for line in lines)
    assert max(map(len, lines)) <= width


def test_a_long_name_is_folded_and_none_of_it_is_lost(results: Path) -> None:
    lines = on_terminal(f"status {LONG} --results {{results}}", 80, results)
    assert "".join(line.split()[0] for line in lines[2:] if line[0] != " ") == LONG


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "column"),
    [
        ("collect {results}", "paper images/s"),
        ("systems", "title"),
        ("predict --nodes 256", "s/step"),
        ("status --results {results}", "ends"),
        ("sweep {jobs}/sweeps/table-05.toml --dry-run", "partition"),
    ],
)
def test_all_columns_are_there_when_asked_for(words: str, column: str, results: Path) -> None:
    assert column not in " ".join(on_terminal(words, 120, results))
    assert column in " ".join(on_terminal(f"{words} --wide", 120, results)[:2])
    # A pipe has them all, whatever was asked for.
    assert column in in_pipe(words, results).splitlines()[0]


def test_a_file_and_a_format_are_never_cut_for_the_terminal(results: Path, tmp_path: Path) -> None:
    lines = on_terminal("collect {results} --format csv", 80, results)
    (row,) = (row for row in csv.DictReader(io.StringIO("\n".join(lines))) if row["run_id"] == LONG)
    assert row["paper_images_per_second"] == ""
    assert row["images_per_second"] == "77342.0"
    path = tmp_path / "table.md"
    assert on_terminal(f"collect {{results}} --output {path}", 80, results) == []
    assert path.read_text() == in_pipe("collect {results}", results)


def test_a_name_cannot_draw_or_command() -> None:
    column = Column[str]("name", lambda name: name, shown="narrow")
    drawn = draw_tables([Table(columns=(column,), rows=("[bold]a[/] \x1b[2J",))], wide=True)
    assert "[bold]a[/] \\x1b[2J" in _STYLE.sub("", drawn)
