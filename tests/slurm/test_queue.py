"""submit, sweep, status and cancel with a real slurmctld, where every job stays pending."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hvdtrain.resources import resource_folder
from hvdtrain.runs.preflight import SlowNode
from tests.samples import sample_preflight
from tests.slurm.cluster import Cluster, slurm_environ

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = resource_folder("jobs") / "sweeps"
DATA = ("--data", "/scratch/imagenet")
KNL = pytest.mark.parametrize("cluster", ["stampede2-knl"], indirect=True)


class Site:
    """A login node of the cluster, and a folder to work in."""

    def __init__(self, cluster: Cluster, work: Path) -> None:
        self.environ = {**slurm_environ(cluster.conf), "PYTHONPATH": str(ROOT)}
        self.work = work

    def try_run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.work,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def hvdtrain(self, *words: str) -> str:
        done = self.try_run(sys.executable, "-m", "hvdtrain", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def show(self, job: str) -> dict[str, str]:
        """What Slurm itself holds of a job."""
        text = self.try_run("scontrol", "show", "job", "-o", job).stdout
        return dict(re.findall(r"(\S+?)=(\S*)", text))

    def nodes(self, job: str) -> int:
        """Of a pending job Slurm gives a range."""
        return int(self.show(job)["NumNodes"].partition("-")[0])

    def status(self) -> dict[str, dict[str, Any]]:
        return {run["run"]: run for run in json.loads(self.hvdtrain("status", "--json"))}

    @property
    def runs(self) -> list[str]:
        return sorted(os.listdir(self.work / "results"))


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path) -> Site:
    return Site(cluster, tmp_path)


@KNL
def test_a_run_from_submission_to_cancellation(site: Site) -> None:
    job = site.hvdtrain("submit", "--nodes", "256", *DATA).strip()
    (run,) = site.runs
    held = site.show(job)
    assert (held["JobState"], held["TimeLimit"], site.nodes(job)) == ("PENDING", "02:42:00", 256)
    script = (site.work / "results" / run / "job.sh").read_text()
    assert f"#SBATCH --time={held['TimeLimit']}\n" in script
    kept = site.try_run("scontrol", "write", "batch_script", job, "-").stdout
    assert kept.strip() == script.strip()
    status = site.status()[run]
    assert (status["state"], status["job"]) == ("pending", job)
    assert status["reason"] == held["Reason"]
    site.hvdtrain("cancel", run)
    assert site.show(job)["JobState"] == "CANCELLED"
    assert site.status()[run]["state"] == "cancelled"
    # A second time there is nothing to do.
    assert site.hvdtrain("cancel", run) == ""


@KNL
def test_a_chain_waits_for_itself_and_after_waits_for_the_chain(site: Site) -> None:
    first, second = site.hvdtrain("submit", "--nodes", "64", *DATA, "--chain", "2").split()
    (run,) = site.runs
    assert site.show(second)["Dependency"] == f"afterany:{first}(unfulfilled)"
    third = site.hvdtrain("submit", "--nodes", "64", *DATA, "--after", run).strip()
    assert site.show(third)["Dependency"] == f"afterany:{second}(unfulfilled)"
    fourth = site.hvdtrain("submit", "--nodes", "64", *DATA, "--after", third).strip()
    assert site.show(fourth)["Dependency"] == f"afterany:{third}(unfulfilled)"
    assert len(site.hvdtrain("cancel", run).splitlines()) == 2
    states = [site.show(job)["JobState"] for job in (first, second, third, fourth)]
    assert states == ["CANCELLED", "CANCELLED", "PENDING", "PENDING"]
    site.hvdtrain("cancel", third, fourth)
    assert {status["state"] for status in site.status().values()} == {"cancelled"}


@KNL
def test_what_slurm_refuses_leaves_nothing(site: Site) -> None:
    words = (sys.executable, "-m", "hvdtrain", "submit", "--nodes", "4", *DATA, "--walltime", "60")
    done = site.try_run(*words, "--set", "constraint=no-such-feature")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Invalid feature specification" in done.stderr
    assert site.runs == []


@KNL
def test_jobs_of_others_are_never_touched(site: Site) -> None:
    site.hvdtrain("submit", "--nodes", "64", *DATA)
    (run,) = site.runs
    words = ("sbatch", "--parsable", "--nodes=1", "--partition=normal", "--time=5", "--wrap=true")
    other = site.try_run(*words).stdout.strip()
    # As if Slurm had begun to count anew.
    file = site.work / "results" / run / "submission.json"
    submission = json.loads(file.read_text())
    mine = submission["jobs"][0]
    file.write_text(json.dumps({**submission, "jobs": [other]}))
    assert site.status()[run]["state"] == "lost"
    assert site.hvdtrain("cancel", run) == site.hvdtrain("cancel", "--all", "--yes") == ""
    assert site.show(other)["JobState"] == "PENDING"
    site.hvdtrain("cancel", other, mine)
    assert {site.show(job)["JobState"] for job in (other, mine)} == {"CANCELLED"}


@KNL
def test_a_run_is_submitted_again_without_the_nodes_that_were_slow(site: Site) -> None:
    first = site.hvdtrain("submit", "--nodes", "64", *DATA, "--set", "exclude=n1").strip()
    (run,) = site.runs
    refused = site.try_run(sys.executable, "-m", "hvdtrain", "resume", run)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{first} is pending" in refused.stderr
    second = site.hvdtrain("resume", run, "--after", run, "--walltime", "1:00:00").strip()
    shown = site.show(second)
    assert (shown["TimeLimit"], shown["ExcNodeList"]) == ("01:00:00", "n1")
    assert shown["Dependency"] == f"afterany:{first}(unfulfilled)"
    folder = site.work / "results" / run
    slow = (SlowNode(host="n7", what="memory", ratio=1.5),)
    report = sample_preflight(hosts=("n1", "n7"), slow=slow, exclude="--exclude=n7")
    (folder / "preflight.json").write_bytes(msgspec.json.encode(report))
    site.environ |= {"SLURM_JOB_ID": first, "SLURM_JOB_PARTITION": shown["Partition"]}
    site.hvdtrain("attempt", "refused", "--run-id", run)
    assert site.show(second)["ExcNodeList"] == "n1,n7"
    assert site.status()[run]["state"] == "pending"
    site.hvdtrain("cancel", run)
    assert site.show(second)["JobState"] == "CANCELLED"


@KNL
def test_table_5_is_submitted_row_by_row(site: Site) -> None:
    # Of a user's jobs the partition `large` takes five at a time.
    nodes = [256, 256, 512, 512, 512, 512, 768, 1024, 1024, 1536]
    for expected in (nodes[:7], nodes[7:]):
        lines = site.hvdtrain("sweep", str(SWEEPS / "table-05.toml"), *DATA).splitlines()
        assert [site.nodes(line.split()[1]) for line in lines] == expected
        assert "pending" in {status["state"] for status in site.status().values()}
        site.hvdtrain("cancel", "--all", "--yes")
    assert len(site.status()) == len(nodes)
    assert {status["state"] for status in site.status().values()} == {"cancelled"}


@pytest.mark.parametrize("cluster", ["marenostrum4"], indirect=True)
def test_arrays_are_cut_at_the_limit_of_the_site(site: Site) -> None:
    text = (resource_folder("systems") / "marenostrum4.toml").read_text()
    (site.work / "systems").mkdir()
    (site.work / "systems" / "marenostrum4.toml").write_text(
        text.replace("[slurm]\n", "[slurm]\nmax_array_tasks = 3\n")
    )
    (site.work / "warm-up.toml").write_text(
        'name = "warm-up"\n[options]\nsystem = "marenostrum4"\nnodes = 64\n'
        'walltime = "2:00:00"\n[vary]\nepochs = [1, 2, 3, 4]\n'
    )
    words = ("sweep", "warm-up.toml", *DATA, "--systems-dir", "systems")
    jobs = dict(line.split() for line in site.hvdtrain(*words).splitlines())
    array = jobs["warm-up-001"].partition("_")[0]
    assert [jobs[f"warm-up-00{n}"] for n in (1, 2, 3)] == [f"{array}_{n}" for n in (0, 1, 2)]
    alone = jobs["warm-up-004"]
    assert site.show(array)["ArrayTaskId"] == "0-2"
    assert "ArrayTaskId" not in site.show(alone)
    states = {run: (status["state"], status["job"]) for run, status in site.status().items()}
    assert states == {run: ("pending", job) for run, job in jobs.items()}
    assert site.hvdtrain(*words) == ""
    site.hvdtrain("cancel", "warm-up-002")
    assert site.status()["warm-up-002"]["state"] == "cancelled"
    assert site.status()["warm-up-003"]["state"] == "pending"
    site.hvdtrain("cancel", array, alone)
    assert {status["state"] for status in site.status().values()} == {"cancelled"}
