"""`hvdtrain collect` from the command line: output, exit codes, and which stream says what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvdtrain.plan.record import RECORD_FILE
from tests.collect.records import make_record, make_test_plan, write_plan, write_record

ROOT = Path(__file__).resolve().parents[2]


def collect(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hvdtrain", "collect", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured run, a synthetic one and one that was cut off."""
    folder = tmp_path_factory.mktemp("results")
    write_record(folder, make_record("measured-run"))
    plan = make_test_plan(source="synthetic")
    write_record(folder, make_record("dry-run", plan=plan, kind="synthetic"))
    write_plan(folder, "cut-off", make_test_plan())
    return folder


def test_good_runs_are_a_table_and_nothing_else(results: Path) -> None:
    answer = collect(results)
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    assert len(lines) == 2 + 3
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)


def test_only_the_measured_run_is_labelled_so_and_compared(results: Path) -> None:
    rows = json.loads(collect(results, "--format", "json").stdout)
    assert {row["run_id"]: (row["label"], row["difference_percent"]) for row in rows} == {
        "measured-run": ("measured", 0.0),
        "dry-run": ("synthetic", None),
        "cut-off": ("incomplete", None),
    }


def test_a_malformed_record_is_named_and_the_others_are_printed(
    results: Path, tmp_path: Path
) -> None:
    (tmp_path / "good").symlink_to(results / "measured-run")
    write_record(tmp_path, make_record("measured-run"))
    bad = write_record(tmp_path, make_record("bad\x1b[31m"))
    bad.write_text(r'{"\u001b[2J": 1}')
    answer = collect(tmp_path)
    assert answer.returncode == 1
    assert len(answer.stdout.splitlines()) == 3
    assert "\x1b" not in answer.stdout + answer.stderr
    assert r"bad\x1b[31m/record.json: Object contains unknown field" in answer.stderr
    assert "good/record.json: its run_id is 'measured-run'" in answer.stderr
    assert "2 of 3 runs were skipped" in answer.stderr


@pytest.mark.parametrize("name", ["missing", "file", "run"])
def test_what_is_no_results_folder_is_wrong_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    write_record(tmp_path, make_record("run"))
    answer = collect(tmp_path / name)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "RESULTS" in answer.stderr


def test_an_empty_folder_gives_the_header_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    answer = collect(folder=tmp_path)
    assert answer.returncode == 0
    assert len(answer.stdout.splitlines()) == 2
    assert "no runs in results" in answer.stderr
    assert json.loads(collect("--format", "json", folder=tmp_path).stdout) == []


def test_output_holds_what_would_have_been_printed(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    answer = collect(results, "--format", "csv", "--output", path)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert path.read_text() == collect(results, "--format", "csv").stdout


def test_output_is_written_although_a_record_is_malformed(tmp_path: Path) -> None:
    write_record(tmp_path / "results", make_record("good"))
    write_record(tmp_path / "results", make_record("bad")).write_text("{")
    answer = collect(tmp_path / "results", "--format", "json", "--output", tmp_path / "t.json")
    assert answer.returncode == 1
    assert [row["run_id"] for row in json.loads((tmp_path / "t.json").read_text())] == ["good"]


def test_output_that_cannot_be_written_is_wrong_input(results: Path, tmp_path: Path) -> None:
    answer = collect(results, "--output", tmp_path / "missing" / "table.md")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "--output" in answer.stderr


def test_what_the_paper_disagrees_with_itself_about_is_said_once(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_record(tmp_path, make_record(name, plan=make_test_plan(nodes=1024)))
    answer = collect(tmp_path)
    assert answer.returncode == 0
    assert answer.stderr.count("Table V, row 9") == len(answer.stderr.splitlines()) == 1


def test_a_name_that_no_encoding_knows_is_still_printed(tmp_path: Path) -> None:
    folder = write_plan(tmp_path, "run", make_test_plan())
    os.rename(folder, os.fsencode(tmp_path) + b"/run-\xff")
    for form in ("md", "csv", "json", "latex"):
        answer = collect(tmp_path, "--format", form)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert "dcff" in answer.stdout


def test_help_ends_with_an_example() -> None:
    answer = collect("--help")
    assert answer.returncode == 0
    assert answer.stdout.rstrip().splitlines()[-3].strip() == "Example:"


def test_no_tensorflow_is_loaded(results: Path) -> None:
    code = (
        "import sys\n"
        "from hvdtrain.cli import cli\n"
        f"cli.main(['collect', {str(results)!r}], standalone_mode=False)\n"
        "sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_thousands_of_records_do_not_take_long(tmp_path: Path) -> None:
    """10,000 take about a second of processor time; 2,000 are given far more than their share."""
    text = write_record(tmp_path, make_record("run-00000", hosts=("c1",))).read_text()
    for number in range(1, 2000):
        folder = tmp_path / f"run-{number:05d}"
        folder.mkdir()
        (folder / RECORD_FILE).write_text(text.replace("run-00000", folder.name))
    before = os.times()
    answer = collect(tmp_path)
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    assert len(answer.stdout.splitlines()) == 2 + 2000
    assert used < 1.5
