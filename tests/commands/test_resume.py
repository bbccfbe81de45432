"""`hvdtrain resume` with programs in place of Slurm's: the same job again, and what may differ."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands.resume import command
from hvdtrain.commands.submit import command as submit_command
from hvdtrain.errors import InputError, RunError
from hvdtrain.files.decode import load_json
from hvdtrain.plan.job.again import request_from_plan
from hvdtrain.plan.job.asked_run import plan_run
from hvdtrain.plan.machine.system import load_system
from hvdtrain.plan.method.recipe import load_recipe
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.attempt import read_failure, write_failure
from hvdtrain.runs.preflight import SlowNode
from hvdtrain.runs.submission import Submission
from tests.samples import sample_plan, sample_preflight, sample_record
from tests.slurm.fake import FakeSlurm, make_fake_slurm

NODES = ("--nodes", "256", "--data", "/scratch/imagenet")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    made = make_fake_slurm(tmp_path / "bin", monkeypatch)
    made.accept(11)
    made.queue()
    return made


@pytest.fixture
def run(slurm: FakeSlurm) -> Path:
    """A run whose job 11 was submitted and has ended."""
    assert slurm.calls == []
    done = CliRunner().invoke(submit_command, NODES, catch_exceptions=False)
    assert done.stdout == "11\n"
    (folder,) = Path("results").iterdir()
    return folder


def resume(run: Path, *words: str) -> Result:
    return CliRunner().invoke(command, [run.name, *words], catch_exceptions=False)


def submission_of(run: Path) -> Submission:
    return load_json(run / "submission.json", Submission)


def keep(run: Path, name: str, content: msgspec.Struct) -> None:
    (run / name).write_bytes(msgspec.json.encode(content))


def real_plan(run: Path, images: int = 1000) -> RunPlan:
    """The plan as the ranks have left it: on data of their own."""
    plan = plan_run(submission_of(run).request, load_system("stampede2-knl"), 256)
    source = msgspec.structs.replace(plan.source, path="/dev/shm/hvdtrain-0-run/data")
    dataset = msgspec.structs.replace(plan.dataset, train_images=256 * images, classes=7)
    model = msgspec.structs.replace(plan.model, classes=7)
    steps = dataset.train_images / plan.global_batch
    return msgspec.structs.replace(
        plan, source=source, dataset=dataset, model=model, steps_per_epoch=steps
    )


def test_the_same_job_is_submitted_again(slurm: FakeSlurm, run: Path) -> None:
    before = (run / "job.sh").read_text()
    keep(run, "plan.json", real_plan(run))
    done = resume(run)
    assert done.stdout == "12\n"
    again = (run / "job.sh").read_text()
    made_by = "#   hvdtrain {} {}\n"
    assert again == before.replace(
        made_by.format("submit", " ".join(NODES)), made_by.format("resume", run.name)
    )
    assert (slurm.folder / "script-12").read_text() == again
    submission = submission_of(run)
    assert (submission.jobs, submission.chain) == (("11", "12"), 2)
    assert sorted(path.name for path in Path("results").iterdir()) == [run.name]


def test_what_the_scheduler_is_asked_may_change_and_chains_go_on(
    slurm: FakeSlurm, run: Path
) -> None:
    keep(run, "plan.json", real_plan(run))
    done = resume(run, "--walltime", "1:00:00", "--chain", "2", "--json")
    printed = json.loads(done.stdout)
    assert (printed["jobs"], printed["walltime_min"]) == (["11", "12", "13"], 60)
    assert "--dependency=afterany:12" in slurm.calls_of("sbatch")[2]
    assert "#SBATCH --time=01:00:00\n" in (run / "job.sh").read_text()


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (("--nodes", "128"), "nodes: 256 -> 128"),
        (("--epochs", "45"), "recipe.phase"),
        (("--seed", "3"), "seed: 0 -> 3"),
        (("--precision", "bf16"), 'model.precision: "fp32" -> "bf16"'),
    ],
)
def test_what_changes_the_training_has_to_be_meant(
    slurm: FakeSlurm, run: Path, words: tuple[str, ...], change: str
) -> None:
    keep(run, "plan.json", real_plan(run))
    with pytest.raises(InputError) as caught:
        resume(run, *words)
    assert change in str(caught.value)
    assert len(slurm.calls_of("sbatch")) == 1
    assert resume(run, *words, "--allow-change").stdout == "12\n"
    assert "    --allow-change" in (run / "job.sh").read_text()


def test_nodes_that_the_preflight_found_wanting_are_left_out(slurm: FakeSlurm, run: Path) -> None:
    slow = (SlowNode(host="c1", what="memory", ratio=1.5),)
    report = sample_preflight(slow=slow, exclude="--exclude=c1")
    keep(run, "preflight.json", report)
    said = resume(run, "--dry-run")
    assert "#SBATCH --exclude=c1\n" in said.stdout
    assert f"note: the preflight of {run.name} found c1 wanting: left out" in said.stderr
    assert "#SBATCH --exclude" not in resume(run, "--dry-run", "--unset", "exclude").stdout
    own = resume(run, "--dry-run", "--set", "exclude=c[7-9]").stdout
    assert "#SBATCH --exclude=c[7-9]\n" in own
    assert len(slurm.calls_of("sbatch")) == 1


def test_a_run_that_somebody_works_on_is_left_to_him(slurm: FakeSlurm, run: Path) -> None:
    slurm.queue("11 RUNNING", name=submission_of(run).job_name)
    with pytest.raises(InputError, match="11 is running"):
        resume(run)
    assert resume(run, "--after", run.name).stdout == "12\n"
    assert "--dependency=afterany:11" in slurm.calls_of("sbatch")[1]


@pytest.mark.parametrize(
    ("status", "words", "message"),
    [
        ("completed", (), "this one has completed"),
        ("completed", ("--allow-change",), "this one has completed"),
        ("diverged", (), "this one has diverged"),
    ],
)
def test_a_run_that_is_over_is_not_submitted(
    slurm: FakeSlurm, run: Path, status: str, words: tuple[str, ...], message: str
) -> None:
    keep(run, "record.json", sample_record(run_id=run.name, status=status))
    with pytest.raises(InputError, match=message):
        resume(run, *words)
    assert len(slurm.calls_of("sbatch")) == 1


def test_an_earlier_failure_does_not_end_the_new_job(run: Path) -> None:
    write_failure(run, "11", "the disk is full")
    resume(run, "--dry-run")
    assert read_failure(run, "11") is not None
    resume(run)
    assert read_failure(run, "11") is None


def test_when_sbatch_refuses_all_is_as_it_was(slurm: FakeSlurm, run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    slurm.answer("sbatch", err="error: Invalid account", exit_code=1)
    with pytest.raises(RunError, match="Invalid account"):
        resume(run, "--walltime", "2:00:00")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_that_was_started_otherwise_goes_on_by_its_plan(run: Path) -> None:
    plan = real_plan(run)
    other = run.with_name("by-hand")
    other.mkdir()
    keep(other, "plan.json", plan)
    done = resume(other, "--data", "/scratch/imagenet")
    assert done.stdout == "12\n"
    made = submission_of(other)
    assert (made.nodes, made.global_batch, made.jobs) == (256, 8192, ("12",))
    script = (other / "job.sh").read_text()
    assert "\nrun_id=by-hand\n" in script and "    --classes 7" in script


def test_what_is_no_run_is_refused(slurm: FakeSlurm) -> None:
    Path("results/empty").mkdir(parents=True)
    for name, message in (
        ("none", "there is none in results"),
        ("empty", "was submitted, or has begun"),
    ):
        with pytest.raises(InputError, match=message):
            resume(Path(name))
    assert slurm.calls == []


@pytest.mark.parametrize("epochs", [None, 30.0])
def test_a_plan_asks_for_itself(epochs: float | None) -> None:
    system = load_system("stampede2-knl")
    request = request_from_plan(sample_plan())
    request = msgspec.structs.replace(request, epochs=epochs, recipe="linear-90")
    plan = plan_run(request, system, 4)
    assert plan_run(request_from_plan(plan), system, 4) == plan


def test_a_recipe_that_is_not_shipped_has_to_be_named() -> None:
    recipe = msgspec.structs.replace(load_recipe("linear-90"), name="mine")
    with pytest.raises(InputError, match="--recipe"):
        request_from_plan(msgspec.structs.replace(sample_plan(), recipe=recipe))
