"""Rendered jobs run on two nodes, are disturbed in every way, and end with the same weights."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from hvdtrain.files.decode import load_json
from hvdtrain.plan.job.job_plan import ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import load_system
from hvdtrain.runs.attempt import MOST_RESTARTS
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, METRICS_FILE, RECORD_FILE, STOP_FILE
from hvdtrain.runs.record import Record
from hvdtrain.slurm.render import render_script
from hvdtrain.train.checkpoint.archive import newest_step, read_newest
from tests.ranks import ROOT, find_ranks
from tests.slurm.nodes import Nodes

PMI_LIBRARY = next(Path("/usr/lib").glob("*/libpmi2.so.0"), None)
SYSTEMS = Path(__file__).parent / "systems"
PROGRAM = Path(sys.executable).with_name("hvdtrain")
EPOCHS, STEPS_PER_EPOCH = 15, 10
MIDDLE = 23
"""A step after which a run is disturbed: not one that a checkpoint is written at anyway."""

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.tf,
    pytest.mark.ranks,
    pytest.mark.timeout(900),
]

# `hvdtrain WORDS...`: rank 1 stops itself, once in a preflight and once in a training.
HANGING = """#!{python}
import os, signal
from pathlib import Path
from hvdtrain.cli.main import main
from hvdtrain.train.health.watchdog import Watchdog
usual = Watchdog._send
def send(self, beat):
    usual(self, beat)
    marker = Path({markers!r}, beat.doing.replace(" ", "-"))
    hangs = beat.doing in ("the allreduce", "the update of step {step}")
    if hangs and os.environ.get("PMI_RANK") == "1" and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
Watchdog._send = send
main()
"""


@pytest.fixture(scope="module")
def nodes(nodes: Nodes) -> Nodes:
    if PMI_LIBRARY is None:
        pytest.skip("libpmi2.so.0 not installed: Debian's package libpmi2-0")
    return nodes


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noisy colours, uneven over two ranks."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(7)
    for split, count in (("train", 8 * 2 * STEPS_PER_EPOCH), ("val", 23)):
        for number in range(count):
            pixels = random.integers(0, 100, (32, 32, 3), np.uint8)
            pixels[..., number % 3] += 100
            target = folder / split / f"class{number % 3}" / f"{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(target)
    return folder


@dataclass(frozen=True)
class Job:
    """A job that was submitted.

    Attributes:
        nodes: Where it runs.
        number: Slurm's.
        folder: Of its run.
    """

    nodes: Nodes
    number: str
    folder: Path

    @property
    def steps(self) -> int:
        """Updates in the metrics of the run."""
        metrics = self.folder / METRICS_FILE
        if not metrics.exists():
            return 0
        return len(re.findall(r'"loss":[0-9]', metrics.read_text()))

    def wait_for_step(self, step: int) -> None:
        self.nodes.wait_for(f"step {step}", lambda: self.steps >= step, self.number)

    def wait_for_restart(self) -> None:
        self.nodes.wait_for(
            "a restart", lambda: self.nodes.show(self.number)["Restarts"] != "0", self.number
        )

    def rank(self, number: int) -> int:
        """Process id of a rank."""
        (found,) = find_ranks(self.folder.name, number)
        return found

    @property
    def output(self) -> str:
        return self.nodes.output(self.number)

    @property
    def record(self) -> Record:
        return load_json(self.folder / RECORD_FILE, Record)


@dataclass(frozen=True)
class Submitter:
    """Renders jobs and submits them."""

    nodes: Nodes
    images: Path
    folder: Path

    def __call__(
        self,
        name: str,
        *,
        launcher: str = "srun",
        staging: Path | None = None,
        program: Path = PROGRAM,
        environ: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Job:
        # Ranks are found by it among all processes of the machine.
        name = f"{name}-{os.getpid()}"
        system = load_system("pair", SYSTEMS)
        assert system.slurm is not None
        options = ("--mpi=pmi2",) if launcher == "srun" else ()
        slurm = msgspec.structs.replace(system.slurm, launcher=launcher, launcher_options=options)
        node = msgspec.structs.replace(system.node, staging=str(staging or system.node.staging))
        system = msgspec.structs.replace(system, slurm=slurm, node=node)
        asked = {
            "system": "pair",
            "nodes": 2,
            "node_batch": 8,
            "epochs": EPOCHS,
            "checkpoint_epochs": 1,
            "data": str(self.images),
            "walltime": "20",
            "job_name": name,
            "model": "small",
            "classes": 3,
            # It takes as long as all the rest; one job has it.
            "preflight": False,
            **request,
        }
        origin = ScriptOrigin(command="c", hvdtrain=str(program), systems_folder=str(SYSTEMS))
        plan = make_job(JobRequest(**asked), system, origin)
        work = self.folder / name
        work.mkdir(exist_ok=True)
        variables = {
            "PYTHONPATH": str(ROOT),
            "FI_TCP_IFACE": "lo",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **({"I_MPI_PMI_LIBRARY": str(PMI_LIBRARY)} if launcher == "srun" else {}),
            **(environ or {}),
        }
        number = self.nodes.submit(render_script(plan), work, variables)
        return Job(self.nodes, number, work / plan.request.results / f"{name}-{number}")


@pytest.fixture(scope="module")
def submit(nodes: Nodes, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Submitter:
    return Submitter(nodes, images, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module", autouse=True)
def crashing(submit: Submitter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """Jobs of which a rank dies at once. They mostly wait, so they begin first and end last."""
    program = tmp_path_factory.mktemp("program") / "hvdtrain"
    program.write_text(
        f'#!/bin/bash\n[ "$1-$PMI_RANK" != train-1 ] || kill -KILL $$\nexec "{PROGRAM}" "$@"\n'
    )
    program.chmod(0o755)
    return {
        launcher: submit(f"crashing-{launcher}", launcher=launcher, program=program)
        for launcher in ("srun", "mpirun")
    }


@pytest.fixture(scope="module", autouse=True)
def hanging(submit: Submitter, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job of which a rank hangs twice. It mostly waits, too."""
    folder = tmp_path_factory.mktemp("hanging")
    program = folder / "hvdtrain"
    program.write_text(HANGING.format(python=sys.executable, markers=str(folder), step=MIDDLE + 1))
    program.chmod(0o755)
    return submit("hanging", program=program, preflight=True, deadline=20.0, hang_minutes=0.5)


@pytest.fixture(scope="module")
def undisturbed(submit: Submitter) -> Job:
    job = submit("undisturbed", preflight=True)
    shown = job.nodes.wait_for_end(job.number)
    assert shown["JobState"] == "COMPLETED", job.output
    return job


def assert_same(job: Job, undisturbed: Job) -> None:
    """The run was continued, and nobody can tell from its weights."""
    record, other = job.record, undisturbed.record
    assert record.status == "completed"
    assert record.resumed_at
    assert record.weights_sha256 == other.weights_sha256 is not None
    assert [epoch.training_loss for epoch in record.epochs] == [
        epoch.training_loss for epoch in other.epochs
    ]


def assert_goes_on(job: Job, undisturbed: Job) -> None:
    """The job requeues itself, or is requeued, and ends well."""
    job.wait_for_restart()
    shown = job.nodes.wait_for_end(job.number)
    assert shown["JobState"] == "COMPLETED", job.output
    assert_same(job, undisturbed)


def test_a_rendered_job_trains_on_two_nodes_and_is_collected(undisturbed: Job) -> None:
    record = undisturbed.record
    assert record.kind == "measured"
    assert record.hosts == ("n1", "n2")
    assert record.steps == EPOCHS * STEPS_PER_EPOCH
    assert record.slurm_job_id == undisturbed.number
    assert record.resumed_at == ()
    assert [e.evaluation.count for e in record.epochs if e.evaluation] == [23] * EPOCHS
    assert record.plan.source.path.startswith("/dev/shm/")
    done = subprocess.run(
        [PROGRAM, "collect", undisturbed.folder.parent],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.search(rf"\| {undisturbed.folder.name} +\| measured +\| pair", done.stdout)


def test_before_its_time_is_up_a_job_stops_requeues_itself_and_goes_on(
    submit: Submitter, undisturbed: Job
) -> None:
    # Slurm looks twice a minute; four minutes less 230 s are over at the first look.
    job = submit("limited", walltime="4", set_directives={"signal": "B:USR1@230"})
    stop = job.folder / STOP_FILE
    job.nodes.wait_for("step or signal", lambda: job.steps >= MIDDLE or stop.exists(), job.number)
    # On a fast machine the run would be over before Slurm looks.
    held = [] if stop.exists() else [job.rank(0), job.rank(1)]
    for process in held:
        os.kill(process, signal.SIGSTOP)
    job.nodes.wait_for("the signal", stop.exists, job.number)
    # On a slow one it would come again and again.
    job.nodes.run("scontrol", "update", f"jobid={job.number}", "timelimit=60")
    for process in held:
        os.kill(process, signal.SIGCONT)
    assert_goes_on(job, undisturbed)
    assert "ended by its stop file" in job.output
    assert "back into the queue, to go on from step" in job.output


def test_the_same_under_intels_mpirun(submit: Submitter, undisturbed: Job) -> None:
    job = submit("mpirun", launcher="mpirun")
    job.wait_for_step(MIDDLE)
    job.nodes.run("scancel", "--batch", "--signal=USR1", job.number)
    job.wait_for_restart()
    job.wait_for_step(newest_step(job.folder / CHECKPOINTS_FOLDER) + 1)
    # And once more: a rank is killed.
    os.kill(job.rank(1), signal.SIGKILL)
    shown = job.nodes.wait_for_end(job.number)
    assert shown["JobState"] == "COMPLETED", job.output
    assert int(shown["Restarts"]) >= 2
    assert_same(job, undisturbed)


def test_when_a_node_is_lost_the_job_goes_on_with_another(
    submit: Submitter, undisturbed: Job
) -> None:
    job = submit("lost-node", partition="spare")
    job.wait_for_step(MIDDLE)
    shown = job.nodes.show(job.number)
    hosts = job.nodes.run("scontrol", "show", "hostnames", shown["NodeList"]).split()
    (lost,) = set(hosts) - {shown["BatchHost"]}
    job.nodes.run("scontrol", "update", f"nodename={lost}", "state=down", "reason=test")
    try:
        assert_goes_on(job, undisturbed)
    finally:
        job.nodes.run("scontrol", "update", f"nodename={lost}", "state=resume")
    assert lost not in job.record.hosts


@pytest.mark.parametrize("launcher", ["srun", "ibrun"])
def test_a_job_that_is_requeued_by_hand_goes_on(
    submit: Submitter, undisturbed: Job, tmp_path: Path, launcher: str
) -> None:
    # What is known of TACC's ibrun: it starts all ranks of the job with Intel's mpirun.
    ibrun = tmp_path / "ibrun"
    mpirun = PROGRAM.with_name("mpirun")
    ibrun.write_text(f'#!/bin/bash\nexec "{mpirun}" -n "$SLURM_NTASKS" -ppn 1 "$@"\n')
    ibrun.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    job = submit(f"requeued-{launcher}", launcher=launcher, environ={"PATH": path})
    job.wait_for_step(MIDDLE)
    job.nodes.run("scontrol", "requeue", job.number)
    assert_goes_on(job, undisturbed)


def test_a_rank_that_dies_takes_the_job_down_which_goes_on(
    submit: Submitter, undisturbed: Job
) -> None:
    job = submit("killed")
    job.wait_for_step(MIDDLE)
    first = job.rank(0)
    os.kill(job.rank(1), signal.SIGKILL)
    job.nodes.wait_for("the end", lambda: not Path(f"/proc/{first}").exists(), job.number, 60)
    assert_goes_on(job, undisturbed)


def test_a_rank_that_hangs_is_named_and_the_job_goes_on(hanging: Job, undisturbed: Job) -> None:
    shown = hanging.nodes.wait_for_end(hanging.number)
    assert (shown["JobState"], shown["Restarts"]) == ("COMPLETED", "2"), hanging.output
    assert_same(hanging, undisturbed)
    for late, doing in (
        ("the preflight did not end within 20 s", "the allreduce"),
        ("the run has not come further for 2[0-9] s", f"the update of step {MIDDLE + 1}"),
    ):
        named = rf"{late}: rank 1 on n2 \(stopped by a signal\): {doing}"
        assert len(re.findall(named, hanging.output)) == 1, hanging.output


def test_a_job_that_is_cancelled_keeps_its_place_and_does_not_come_back(
    submit: Submitter,
) -> None:
    job = submit("cancelled")
    job.wait_for_step(MIDDLE)
    job.nodes.run("scancel", job.number)
    shown = job.nodes.wait_for_end(job.number)
    assert (shown["JobState"], shown["Restarts"]) == ("CANCELLED", "0")
    checkpoint, damaged = read_newest(job.folder / CHECKPOINTS_FOLDER)
    assert checkpoint is not None and not damaged
    assert checkpoint.state.step >= MIDDLE
    assert not (job.folder / RECORD_FILE).exists()


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
def test_a_rank_that_dies_at_once_takes_the_job_down_which_stops_after_three_restarts(
    launcher: str, crashing: dict[str, Job]
) -> None:
    job = crashing[launcher]
    shown = job.nodes.wait_for_end(job.number)
    assert (shown["JobState"], shown["Restarts"]) == ("FAILED", str(MOST_RESTARTS))
    assert "started again 3 times from the first step and wrote no newer" in job.output


def test_data_that_does_not_fit_into_the_nodes_memory_fails_the_job(submit: Submitter) -> None:
    job = submit("no-room", staging=submit.nodes.tiny)
    shown = job.nodes.wait_for_end(job.number)
    assert (shown["JobState"], shown["Restarts"]) == ("FAILED", "0"), job.output
    assert "kB free" in job.output
    assert not (job.folder / RECORD_FILE).exists()


def test_a_full_disk_and_a_folder_that_may_not_be_written_lose_nothing(
    submit: Submitter, undisturbed: Job
) -> None:
    small = submit.nodes.small

    def assert_failed(job: Job, reason: str) -> None:
        shown = job.nodes.wait_for_end(job.number)
        assert shown["JobState"] == "FAILED", job.output
        assert reason in job.output
        checkpoint, damaged = read_newest(job.folder / CHECKPOINTS_FOLDER)
        assert checkpoint is not None and not damaged

    job = submit("full", results=str(small))
    job.wait_for_step(MIDDLE)
    ballast = small / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert_failed(job, "cannot be written: No space left on device")
    ballast.unlink()

    run = {"HVDTRAIN_RUN_ID": job.folder.name}
    again = submit("full", environ=run, results=str(small))
    goes_on = newest_step(job.folder / CHECKPOINTS_FOLDER) + STEPS_PER_EPOCH + 1
    again = dataclasses.replace(again, folder=job.folder)
    again.wait_for_step(goes_on)
    restore = submit.nodes.make_read_only("n1", small)
    assert_failed(again, "Read-only file system")
    restore()

    last = dataclasses.replace(submit("full", environ=run, results=str(small)), folder=job.folder)
    shown = last.nodes.wait_for_end(last.number)
    assert shown["JobState"] == "COMPLETED", last.output
    assert_same(last, undisturbed)
