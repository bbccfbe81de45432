"""`hvdtrain sweep`: nothing twice, nothing forgotten, arrays only where there are any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands.sweep import command
from hvdtrain.errors import InputError, RunError
from hvdtrain.files.decode import load_json
from hvdtrain.resources import resource_folder
from hvdtrain.runs.folder import write_submission
from hvdtrain.runs.submission import Submission
from hvdtrain.slurm import submitting
from tests.cli.markdown import read_cells
from tests.slurm.fake import FakeSlurm, make_fake_slurm

SWEEPS = resource_folder("jobs") / "sweeps"
DATA = ("--data", "/scratch/imagenet")
# TACC has no arrays, MareNostrum has.
FIVE = (
    'name = "five"\n[options]\nsystem = "{system}"\nwalltime = "2:00:00"\n[vary]\nnodes = {nodes}\n'
)
EPOCHS = (
    'name = "epochs"\n[options]\nsystem = "marenostrum4"\nnodes = 64\nwalltime = "2:00:00"\n'
    "[vary]\nepochs = [1, 2, 3, 4, 5]\n"
)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    made = make_fake_slurm(tmp_path / "bin", monkeypatch)
    made.accept(1)
    return made


def write(text: str) -> str:
    Path("sweep.toml").write_text(text)
    return "sweep.toml"


def invoke(*words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False)


def jobs_of(run: str) -> tuple[str, ...]:
    return load_json(Path("results") / run / "submission.json", Submission).jobs


def test_the_list_of_table_5_has_node_hours_and_submits_nothing(slurm: FakeSlurm) -> None:
    words = (str(SWEEPS / "table-05.toml"), *DATA, "--dry-run")
    lines = read_cells(invoke(*words).stdout)
    assert len(lines) == 12
    assert lines[0][:5] == ["run", "what", "nodes", "batch", "partition"]
    assert lines[0][6] == "node-hours"
    assert lines[10][0] == "table-05-010"
    rows = json.loads(invoke(*words, "--json").stdout)
    assert [row["nodes"] for row in rows] == [256, 256, 512, 512, 512, 512, 768, 1024, 1024, 1536]
    # The one that the README plans: 707 node-hours.
    assert rows[9]["node_hours"] == pytest.approx(707, abs=1)
    assert lines[11][6] == f"{sum(row['node_hours'] for row in rows):.0f}"
    assert not Path("results").exists()
    assert slurm.calls == []


def test_where_there_are_no_arrays_each_row_is_a_job(slurm: FakeSlurm) -> None:
    file = write(FIVE.format(system="stampede2-knl", nodes=[2, 4]))
    assert invoke(file, *DATA).stdout == "five-001 1\nfive-002 2\n"
    assert slurm.calls_of("sbatch") == [["--parsable"]] * 2
    assert (jobs_of("five-001"), jobs_of("five-002")) == (("1",), ("2",))
    script = (slurm.folder / "script-2").read_text()
    assert script == Path("results/five-002/job.sh").read_text()
    assert "#SBATCH --job-name=five-002\n" in script
    assert "run_id=five-002\n" in script


def test_rows_that_ask_for_the_same_are_one_array(slurm: FakeSlurm) -> None:
    done = invoke(write(EPOCHS), *DATA)
    assert done.stdout == "".join(f"epochs-00{n + 1} 1_{n}\n" for n in range(5))
    assert slurm.calls_of("sbatch") == [["--parsable", "--array=0-4"]]
    assert jobs_of("epochs-003") == ("1_2",)
    script = (slurm.folder / "script-1").read_text()
    assert "#SBATCH --job-name=epochs\n" in script
    own = Path("results/epochs-003/job.sh")
    assert f"2) exec bash {own.absolute()} ;;\n" in script
    assert "    --epochs 3 \\\n" in own.read_text()


def test_rows_of_other_sizes_are_no_array(slurm: FakeSlurm) -> None:
    invoke(write(FIVE.format(system="marenostrum4", nodes=[2, 4])), *DATA)
    assert slurm.calls_of("sbatch") == [["--parsable"]] * 2


def with_limits(folder: Path, tasks: int, jobs: int) -> tuple[str, str]:
    text = (resource_folder("systems") / "marenostrum4.toml").read_text()
    text = text.replace("[slurm]\n", f"[slurm]\nmax_array_tasks = {tasks}\n")
    text = text.replace("max_nodes", f"max_jobs = {jobs}\nmax_nodes")
    folder.mkdir()
    (folder / "marenostrum4.toml").write_text(text)
    return ("--systems-dir", str(folder))


def test_arrays_are_no_longer_than_the_site_allows(slurm: FakeSlurm, tmp_path: Path) -> None:
    limits = with_limits(tmp_path / "systems", tasks=2, jobs=100)
    slurm.queue()
    invoke(write(EPOCHS), *DATA, *limits)
    assert slurm.calls_of("sbatch") == [
        ["--parsable", "--array=0-1"],
        ["--parsable", "--array=0-1"],
        ["--parsable"],
    ]
    assert [jobs_of(f"epochs-00{n}")[0] for n in range(1, 6)] == ["1_0", "1_1", "2_0", "2_1", "3"]


def test_no_more_jobs_than_the_site_takes_and_the_rest_later(
    slurm: FakeSlurm, tmp_path: Path
) -> None:
    limits = with_limits(tmp_path / "systems", tasks=100, jobs=4)
    file = write(EPOCHS)
    # A job that has nothing to do with it, in the same queue.
    line = "9|9|N/A|RUNNING|main|prace|N/A|N/A|None|other\n"
    slurm.answer("squeue", out=line)
    done = invoke(file, *DATA, *limits)
    assert "5 rows, 0 submitted earlier, 3 now, 2 left" in done.stderr
    assert "call the same command again" in done.stderr
    slurm.answer("squeue", out=line * 4)
    assert invoke(file, *DATA, *limits).stdout == ""
    slurm.answer("squeue")
    done = invoke(file, *DATA, *limits)
    assert done.stdout == "epochs-004 2_0\nepochs-005 2_1\n"
    assert "5 rows, 3 submitted earlier, 2 now, 0 left" in done.stderr


@pytest.mark.usefixtures("slurm")
def test_nothing_is_submitted_twice() -> None:
    file = write(FIVE.format(system="stampede2-knl", nodes=[2, 4]))
    invoke(file, *DATA)
    done = invoke(file, *DATA)
    assert done.stdout == ""
    assert "2 submitted earlier, 0 now, 0 left" in done.stderr
    assert "job 2" in invoke(file, *DATA, "--dry-run").stdout
    write(FIVE.format(system="stampede2-knl", nodes=[2, 4, 8]))
    assert invoke(file, *DATA).stdout == "five-003 3\n"


def test_a_sweep_that_was_interrupted_goes_on(slurm: FakeSlurm) -> None:
    file = write(FIVE.format(system="stampede2-knl", nodes=[2, 4, 8]))
    slurm.answer(
        "sbatch",
        action=f"[ -e {slurm.folder}/once ] && echo Limit >&2 && exit 1\n"
        f">{slurm.folder}/once\necho 1\nexit",
    )
    with pytest.raises(RunError, match="Limit"):
        invoke(file, *DATA)
    assert sorted(path.name for path in Path("results").iterdir()) == ["five-001"]
    slurm.accept(2)
    assert invoke(file, *DATA).stdout == "five-002 2\nfive-003 3\n"


def test_a_row_of_which_nothing_is_known_is_not_submitted_again(slurm: FakeSlurm) -> None:
    file = write(EPOCHS)
    slurm.answer("sbatch", out="?\n")
    with pytest.raises(RunError, match="not understood"):
        invoke(file, *DATA)
    assert sorted(path.name for path in Path("results").iterdir())[::4] == [
        "epochs-001",
        "epochs-005",
    ]
    slurm.accept(1)
    calls = len(slurm.calls)
    with pytest.raises(RunError, match="not known whether epochs-001 was submitted"):
        invoke(file, *DATA)
    assert len(slurm.calls) == calls


def test_a_refused_array_leaves_nothing(slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", err="Invalid job array specification", exit_code=1)
    with pytest.raises(RunError, match="Invalid job array"):
        invoke(write(EPOCHS), *DATA)
    assert list(Path("results").iterdir()) == []


@pytest.mark.usefixtures("slurm")
def test_one_row_that_cannot_be_kept_loses_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(folder: Path, submission: Submission) -> None:
        if folder.name == "epochs-002":
            raise RunError("submission.json cannot be written: No space left on device")
        write_submission(folder, submission)

    monkeypatch.setattr(submitting, "write_submission", full)
    with pytest.raises(RunError, match=r"1_1 of epochs-002 are in the queue"):
        command.main([write(EPOCHS), *DATA], standalone_mode=False)
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert (jobs_of("epochs-002"), jobs_of("epochs-005")) == ((), ("1_4",))


def test_a_name_that_is_taken_stops_the_whole_array(slurm: FakeSlurm) -> None:
    mine = Path("results/epochs-003")
    mine.mkdir(parents=True)
    (mine / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="epochs-003"):
        invoke(write(EPOCHS), *DATA)
    assert [path.name for path in Path("results").iterdir()] == ["epochs-003"]
    assert slurm.calls == []


@pytest.mark.usefixtures("slurm")
def test_a_run_of_the_same_name_that_was_something_else_is_refused() -> None:
    file = write(FIVE.format(system="stampede2-knl", nodes=[2]))
    invoke(file, *DATA)
    with pytest.raises(InputError, match="five-001") as caught:
        invoke(file, *DATA, "--epochs", "3")
    assert "another name" in caught.value.fix


def test_every_row_is_planned_before_the_first_is_submitted(slurm: FakeSlurm) -> None:
    file = write(FIVE.format(system="stampede2-knl", nodes=[2, 5000]))
    with pytest.raises(InputError) as caught:
        invoke(file, *DATA)
    assert caught.value.field == "row five-002 (nodes=5000): --nodes"
    assert slurm.calls == []


def test_a_row_longer_than_a_job_is_a_chain(slurm: FakeSlurm) -> None:
    file = write('name = "long"\n[vary]\nnodes = [2]\n')
    (row,) = json.loads(invoke(file, *DATA, "--dry-run", "--json").stdout)
    assert row["chain"] > 1
    invoke(file, *DATA)
    assert len(jobs_of("long-001")) == row["chain"]
    assert slurm.calls_of("sbatch")[1] == ["--parsable", "--dependency=afterany:1"]


def test_what_was_submitted_is_there_for_programs_too(slurm: FakeSlurm) -> None:
    file = write(FIVE.format(system="marenostrum4", nodes=[2, 4]))
    found = json.loads(invoke(file, *DATA, "--json").stdout)
    assert [row["run"] for row in found] == ["five-001", "five-002"]
    assert [tuple(row["jobs"]) for row in found] == [jobs_of("five-001"), jobs_of("five-002")]
    assert all(row["jobs"] for row in found)
    assert json.loads(invoke(file, *DATA, "--json").stdout) == found
    assert len(slurm.calls_of("sbatch")) == 2
