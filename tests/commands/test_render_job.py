"""`hvdtrain render-job` from the outside: streams, exit codes, files, speed."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands.render_job import command
from hvdtrain.errors import InputError
from hvdtrain.resources import resource_folder
from tests.golden.cases import FOLDER

HVDTRAIN = ("--hvdtrain", "/opt/hvdtrain/bin/hvdtrain")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hvdtrain", "render-job", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def invoke(*words: str, **environ: str | None) -> Result:
    variables = {"HVDTRAIN_SYSTEMS": None, "XDG_CONFIG_HOME": "/nowhere", **environ}
    return CliRunner(env=variables).invoke(command, words, catch_exceptions=False)


def refused(*words: str) -> InputError:
    with pytest.raises(InputError) as caught:
        invoke(*words)
    return caught.value


def test_stdout_is_the_script_and_notes_go_to_stderr() -> None:
    done = run("--nodes", "1536", *HVDTRAIN)
    assert done.returncode == 0
    assert done.stdout == (FOLDER / "stampede2-knl-1536.sh").read_text()
    assert "ticket" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--nodes", "5000"), "--nodes 2048"),
        (("--nodes", "5", "--walltime", "7-0"), "--walltime 5-00:00:00"),
        (("--nodes", "5", "--partition", "big"), "normal, large, long"),
        (("--nodes", "5", "--node-batch", "9", "--ranks-per-node", "2"), "--node-batch 8"),
        (("--nodes", "5", "--job-name", "a b; $(touch x)\n"), "use a-b-touch-x"),
        (("--nodes", "five"), "--nodes"),
        (("--nodez", "5"), "--nodez"),
        ((), "--nodes: missing"),
    ],
)
def test_wrong_input_is_exit_2_with_an_empty_stdout(words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_explain_leaves_stdout_alone() -> None:
    plain, explained = (invoke("--nodes", "64", *words) for words in ((), ("--explain",)))
    body = [result.stdout.partition("\n#\n")[2] for result in (plain, explained)]
    assert body[0] == body[1]
    for label in ("global batch", "updates", "peak learning rate", "time to train", "wall time"):
        assert label in explained.stderr


def test_the_plan_as_json() -> None:
    plan = json.loads(invoke("--nodes", "1536", "--json").stdout)
    assert plan["partition"]["name"] == "large"
    assert plan["run"]["steps_per_epoch"] == 1_281_167 / 49_152
    assert plan["directives"]["time"] == "00:46:00"


def test_the_header_has_the_command_that_made_it() -> None:
    words = ("--nodes", "64", "--data", "/my data", *HVDTRAIN)
    script = invoke(*words).stdout
    assert f"#   hvdtrain render-job --nodes 64 --data '/my data' {' '.join(HVDTRAIN)}\n" in script


def test_the_script_calls_the_program_that_printed_it() -> None:
    script = invoke("--nodes", "64").stdout
    beside_python = Path(sys.executable).with_name("hvdtrain")
    assert f"HVDTRAIN=${{HVDTRAIN:-{beside_python}}}\n" in script


def test_the_command_line_overrides_the_job_file(tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text(
        'system = "stampede2-skx"\nnodes = 4\nwalltime = "1:00:00"\nunset = ["requeue"]\n'
        '[set]\nnice = "5"\n[model]\nname = "small"\nimage_size = 32\n'
    )
    script = invoke("--job", str(job), "--nodes", "8", "--set", "exclusive").stdout
    for line in ("--nodes=8", "--time=01:00:00", "--nice=5", "--exclusive"):
        assert f"#SBATCH {line}\n" in script
    assert "--requeue" not in script
    assert "    --model small \\\n" in script


def test_a_wrong_job_file_is_named(tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text("nodez = 4")
    error = refused("--job", str(job))
    assert error.field == f"{job}: nodez"
    assert "node_batch, nodes" in error.allowed
    assert refused("--job", str(tmp_path / "none.toml")).field == str(tmp_path / "none.toml")


def write_system(folder: Path) -> None:
    text = (resource_folder("systems") / "stampede2-skx.toml").read_text()
    text = text.replace('"stampede2-skx"', '"mine"').replace("max_nodes = 128", "max_nodes = 3")
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(text)


def test_systems_of_ones_own_are_found_in_all_three_places(tmp_path: Path) -> None:
    folder = tmp_path / "hvdtrain" / "systems"
    write_system(folder)
    words = ("--system", "mine", "--nodes", "3", "--partition", "skx-normal")
    assert refused(*words).field == "--system"
    usual = invoke(*words, XDG_CONFIG_HOME=str(tmp_path)).stdout
    by_variable = invoke(*words, HVDTRAIN_SYSTEMS=str(folder)).stdout
    by_option = invoke(*words, "--systems-dir", str(folder)).stdout
    assert "#SBATCH --nodes=3\n" in usual
    # Where a job would not look by itself, the script says so.
    assert "HVDTRAIN_SYSTEMS" not in usual.partition("set -euo")[2]
    for script in (by_variable, by_option):
        assert f"export HVDTRAIN_SYSTEMS={folder}\n" in script
    assert refused(*words, "--systems-dir", str(tmp_path / "none")).field == "--systems-dir"


def test_accumulation_comes_from_the_command_line_or_a_file(tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text('nodes = 256\ndata = "synthetic"\naccumulate = 8\n')
    for words in (("--job", str(job)), ("--nodes", "256", "--accumulate", "8")):
        script = run(*words).stdout
        assert "#SBATCH --job-name=hvdtrain-stampede2-knl-256n-b65536\n" in script
        assert "    --rank-batch 32 \\\n    --accumulate 8 \\\n" in script
    job.write_text("nodes = 256\naccumulate = 0\n")
    assert refused("--job", str(job)).field.endswith("accumulate")
    assert run("--nodes", "256", "--accumulate", "0").returncode == 2


def test_the_help_ends_with_an_example() -> None:
    last = run("--help").stdout.rstrip().splitlines()[-1]
    assert last.strip().startswith("hvdtrain render-job --nodes 1536")


@pytest.mark.slow
def test_it_takes_little_more_than_its_libraries_take_to_load() -> None:
    # Processor time, and against what the same machine needs for the libraries at that moment.
    libraries = [sys.executable, "-c", "import click, jinja2, msgspec"]
    script = [sys.executable, "-m", "hvdtrain", "render-job", "--nodes", "1536"]
    pairs = [(processor_seconds(script), processor_seconds(libraries)) for _ in range(5)]
    assert min(whole for whole, _ in pairs) < 2.5 * min(alone for _, alone in pairs)


def processor_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_reader_that_stops_early_leaves_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "hvdtrain", "render-job", "--nodes", "1536"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert "Traceback" not in done.stderr
