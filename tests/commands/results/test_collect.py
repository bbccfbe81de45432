"""`hvdtrain collect` from the command line: output, exit codes, and which stream says what."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hvdtrain.collect.paper.tables import TABLES
from hvdtrain.commands.results.collect import command
from hvdtrain.errors import HvdtrainError
from hvdtrain.runs.names import ENSEMBLE_FILE, RECORD_FILE
from tests.collect.records import (
    make_record,
    make_test_plan,
    make_training,
    write_plan,
    write_record,
)

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


def quick(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, for what does not depend on how a process starts and ends."""
    answer = CliRunner().invoke(command, [*map(str, words)])
    code, said = answer.exit_code, answer.stderr
    if isinstance(answer.exception, HvdtrainError):
        code, said = answer.exception.exit_code, f"{said}hvdtrain: {answer.exception}\n"
    return subprocess.CompletedProcess(words, code, answer.stdout, said)


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
    rows = json.loads(quick(results, "--format", "json").stdout)
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
    answer = quick(tmp_path / name)
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
    answer = quick(results, "--format", "csv", "--output", path)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert path.read_text() == quick(results, "--format", "csv").stdout


def test_output_is_written_although_a_record_is_malformed(tmp_path: Path) -> None:
    write_record(tmp_path / "results", make_record("good"))
    write_record(tmp_path / "results", make_record("bad")).write_text("{")
    answer = collect(tmp_path / "results", "--format", "json", "--output", tmp_path / "t.json")
    assert answer.returncode == 1
    assert [row["run_id"] for row in json.loads((tmp_path / "t.json").read_text())] == ["good"]


def test_output_that_cannot_be_written_is_wrong_input(results: Path, tmp_path: Path) -> None:
    answer = quick(results, "--output", tmp_path / "missing" / "table.md")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "--output" in answer.stderr


def test_what_the_paper_disagrees_with_itself_about_is_said_once(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_record(tmp_path, make_record(name, plan=make_test_plan(nodes=1024)))
    answer = quick(tmp_path)
    assert answer.returncode == 0
    assert answer.stderr.count("Table V, row 9") == len(answer.stderr.splitlines()) == 1


def test_a_name_that_no_encoding_knows_is_still_printed(tmp_path: Path) -> None:
    folder = write_plan(tmp_path, "run", make_test_plan())
    os.rename(folder, os.fsencode(tmp_path) + b"/run-\xff")
    for form in ("md", "csv", "json", "latex"):
        answer = quick(tmp_path, "--format", form)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert "dcff" in answer.stdout


def test_help_ends_with_an_example() -> None:
    answer = collect("--help")
    assert answer.returncode == 0
    assert answer.stdout.rstrip().splitlines()[-3].strip() == "Example:"


def test_no_tensorflow_is_loaded(results: Path) -> None:
    code = (
        "import sys\n"
        "from hvdtrain.cli.main import cli\n"
        f"cli.main(['collect', {str(results)!r}], standalone_mode=False)\n"
        "sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_a_table_of_the_paper_has_the_runs_in_its_rows(results: Path) -> None:
    answer = quick(results, "--table", "V", "--format", "json")
    assert (answer.returncode, answer.stderr) == (0, "")
    rows = json.loads(answer.stdout)["V"]["rows"]
    assert {row["kind"]: row["run_ids"] for row in rows if row["runs"]} == {
        "measured": "measured-run",
        "synthetic": "dry-run",
    }


def test_all_tables_are_those_of_the_paper(results: Path) -> None:
    titles = [
        line.split(".")[0].removeprefix("### Table ")
        for line in quick(results, "--table", "all").stdout.splitlines()
        if line.startswith("### ")
    ]
    assert titles == list(TABLES)


def test_only_leaves_the_other_kinds_out(results: Path) -> None:
    for kind, runs in (
        ("measured", ["measured-run"]),
        ("synthetic", ["dry-run"]),
        ("forecast", []),
    ):
        answer = quick(results, "--only", kind, "--format", "json")
        assert [row["run_id"] for row in json.loads(answer.stdout)] == runs


def test_groups_and_comparisons_are_printed(results: Path, tmp_path: Path) -> None:
    grouped = json.loads(quick(results, "--group-by", "nodes", "--format", "json").stdout)
    assert [(row["kind"], row["runs"]) for row in grouped] == [("measured", 1), ("synthetic", 1)]
    write_record(tmp_path, make_record("later", epoch_seconds=(90.0, 95.0, 95.0)))
    compared = json.loads(quick(results, "--compare", tmp_path, "--format", "json").stdout)
    (change,) = [row for row in compared if row["kind"] == "measured"]
    assert change["change_percent"] == pytest.approx(100 * 10 / 85)
    assert change["verdict"] == "noise unknown"


def test_a_malformed_record_of_either_set_is_named(results: Path, tmp_path: Path) -> None:
    write_record(tmp_path, make_record("bad")).write_text("{")
    answer = quick(results, "--compare", tmp_path)
    assert answer.returncode == 1
    assert "1 of 4 runs were skipped" in answer.stderr


def test_a_malformed_ensemble_is_named(tmp_path: Path) -> None:
    (tmp_path / "ensemble-1").mkdir()
    (tmp_path / "ensemble-1" / ENSEMBLE_FILE).write_text('{"schema_version": 1}')
    answer = quick(tmp_path, "--table", "XI")
    assert answer.returncode == 1
    assert "ensemble-1/ensemble.json: Object missing required field" in answer.stderr


def test_the_log_of_one_run_is_printed_alone(tmp_path: Path) -> None:
    write_record(tmp_path, make_training("run"))
    answer = quick(tmp_path, "--mllog", "run")
    assert answer.returncode == 0
    assert all(line.startswith(":::MLLOG ") for line in answer.stdout.splitlines())
    assert "submission_org is not in a record" in answer.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mllog", "cut-off"), "a run that ended"),
        (("--mllog", "../results/measured-run"), "a run that ended"),
        (("--mllog", "dry-run"), "real images"),
        (("--table", "V", "--group-by", "nodes"), "not together with --table"),
        (("--table", "V", "--compare", "."), "not together with --table"),
        (("--table", "XIV"), "XIV"),
        (("--compare", "missing"), "a folder that exists"),
        (("--group-by", "weather"), "weather"),
    ],
)
def test_what_cannot_be_printed_is_wrong_input(
    results: Path, words: tuple[str, ...], said: str
) -> None:
    answer = quick(results, *words)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert said in answer.stderr


def processor_seconds(results: Path, *words: str) -> tuple[str, float]:
    """What `hvdtrain collect` printed, and the processor time that it took."""
    before = os.times()
    answer = collect(results, *words)
    after = os.times()
    used = after.children_user + after.children_system
    return answer.stdout, used - before.children_user - before.children_system


@pytest.mark.slow
def test_ten_thousand_records_do_not_take_long(tmp_path: Path) -> None:
    """1.2 s of processor time on a busy machine with two cores; the bound is for a busier one.

    Records of 46 kB, of 90 epochs and 256 ranks, took 3 s there, half of it to decode them.
    """
    text = write_record(tmp_path, make_record("run-00000", hosts=("c1",))).read_text()
    for number in range(1, 10_000):
        folder = tmp_path / f"run-{number:05d}"
        folder.mkdir()
        (folder / RECORD_FILE).write_text(text.replace("run-00000", folder.name))
    table, used = processor_seconds(tmp_path)
    assert len(table.splitlines()) == 2 + 10_000
    assert used < 6
    table, used = processor_seconds(tmp_path, "--table", "V")
    assert "run-00000 and 9999 more" in table
    assert used < 6


def fuzzed(text: bytes, chance: random.Random) -> bytes:
    """The text with one to three bytes or stretches changed, lost, doubled or cut off."""
    data = bytearray(text)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        end = at + chance.choice((1, 1, 2, 10, 100))
        match chance.randrange(5):
            case 0:
                data[at:end] = chance.randbytes(end - at)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end]
            case 3:
                data[at : at + 1] = chance.choice(b'0123456789-"{}[],:eE').to_bytes()
            case 4 if at:
                del data[at:]
    return bytes(data)


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


@pytest.mark.slow
def test_ten_thousand_fuzzed_records_give_no_traceback_and_no_wrong_row(tmp_path: Path) -> None:
    chance = random.Random(5)
    text = write_record(tmp_path, make_record("run-00000", hosts=("c1",))).read_bytes()
    for number in range(10_000):
        folder = tmp_path / f"run-{number:05d}"
        folder.mkdir(exist_ok=True)
        own = text.replace(b"run-00000", folder.name.encode())
        (folder / RECORD_FILE).write_bytes(fuzzed(own, chance))
    answer = collect(tmp_path, "--format", "json")
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    rows = json.loads(answer.stdout, parse_constant=refuse)
    skipped = [line for line in answer.stderr.splitlines() if line.startswith("hvdtrain: skipped")]
    assert len(rows) + len(skipped) == 10_000
    assert f"{len(skipped)} of 10000 runs were skipped" in answer.stderr
    assert 1 < len(rows) < 5000
    for row in rows:
        written = json.loads((tmp_path / row["run_id"] / RECORD_FILE).read_bytes())
        plan = written["plan"]
        assert (row["system"], row["nodes"]) == (plan["system"], plan["nodes"])
        assert row["node_batch"] == plan["rank_batch"] * plan["accumulate"] * plan["ranks_per_node"]
        assert row["images_per_second"] == written["images_per_second"]
        assert (row["kind"], row["status"]) == (written["kind"], written["status"])
        assert written["run_id"] == row["run_id"]
    whole = collect(tmp_path, "--table", "all", "--format", "json")
    assert (whole.returncode, "Traceback" in whole.stderr) == (1, False)
    assert list(json.loads(whole.stdout, parse_constant=refuse)) == list(TABLES)
