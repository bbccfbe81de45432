"""A real Slurm takes the scripts that hvdtrain prints, and refuses what hvdtrain refuses."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hvdtrain.errors import InputError
from hvdtrain.files.decode import load_toml
from hvdtrain.plan.job.job_plan import ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import Partition, System, load_system, system_files
from hvdtrain.resources import resource_folder
from hvdtrain.slurm.render import render_script
from hvdtrain.units import format_walltime
from tests.golden.cases import CASES, FOLDER
from tests.slurm.cluster import Cluster, apart

pytestmark = pytest.mark.slurm

ORIGIN = ScriptOrigin(command="c", hvdtrain="/opt/hvdtrain/bin/hvdtrain")
SYSTEMS = sorted(set(system_files(None)) - {"local"})


def render(system: System, **request: Any) -> str:
    asked = JobRequest(**{"system": system.name, "account": "me", **request})
    return render_script(make_job(asked, system, ORIGIN))


@pytest.mark.parametrize(
    ("cluster", "system"), [(name, name) for name in SYSTEMS], indirect=["cluster"]
)
class TestEverySystem:
    def test_the_golden_scripts_are_accepted(self, cluster: Cluster, system: str) -> None:
        names = [name for name in CASES if name.rpartition("-")[0] == system]
        assert names
        for name in names:
            answer = cluster.test_only((FOLDER / f"{name}.sh").read_text())
            assert answer.accepted, f"{name}: {answer.text}"
            assert "to start at" in answer.text

    def test_the_shipped_jobs_are_accepted(self, cluster: Cluster, system: str) -> None:
        known = load_system(system)
        for path in sorted(resource_folder("jobs").glob("*.toml")):
            request = load_toml(path, JobRequest)
            if request.system == system:
                answer = cluster.test_only(render_script(make_job(request, known, ORIGIN)))
                assert answer.accepted, f"{path.name}: {answer.text}"

    def test_every_partition_takes_what_its_limits_allow_and_no_more(
        self, cluster: Cluster, system: str
    ) -> None:
        known = load_system(system)
        for entry in known.partition:
            limit = format_walltime(entry.max_walltime_min)
            for nodes in {entry.min_nodes, entry.max_nodes}:
                script = render(known, partition=entry.name, nodes=nodes, walltime=limit)
                answer = cluster.test_only(script)
                assert answer.accepted, f"{entry.limits}: {answer.text}"

    def test_what_no_partition_takes_slurm_refuses_too(self, cluster: Cluster, system: str) -> None:
        known = load_system(system)
        most = max(entry.max_nodes for entry in known.partition)
        longest = max(entry.max_walltime_min for entry in known.partition)
        legal = render(known, nodes=most, walltime="10")
        assert cluster.test_only(legal).accepted
        for before, after, request in (
            (f"--nodes={most}\n", f"--nodes={most + 1}\n", {"nodes": most + 1}),
            (
                "--time=00:10:00\n",
                f"--time={format_walltime(longest + 1)}\n",
                {"nodes": most, "walltime": format_walltime(longest + 1)},
            ),
        ):
            with pytest.raises(InputError):
                render(known, **request)
            assert before in legal
            assert not cluster.test_only(legal.replace(before, after)).accepted

    def test_slurm_takes_exactly_what_hvdtrain_takes(self, cluster: Cluster, system: str) -> None:
        known = apart(load_system(system))
        at_limits = {
            count
            for entry in known.partition
            for limit in (entry.min_nodes - 1, entry.max_nodes)
            for count in (limit, limit + 1)
        }
        cases = [
            (entry, nodes, minutes)
            for entry in known.partition
            for nodes in sorted(at_limits - {0})
            for minutes in (entry.max_walltime_min, entry.max_walltime_min + 1)
        ]

        def compare(case: tuple[Partition, int, int]) -> str:
            entry, nodes, minutes = case
            # A shortest wall time is a rule of the site's own, which Slurm knows nothing of.
            short = format_walltime(max(10, entry.min_walltime_min))
            script = render(known, partition=entry.name, nodes=entry.min_nodes, walltime=short)
            for before, after in (
                (f"--nodes={entry.min_nodes}\n", f"--nodes={nodes}\n"),
                (f"--time={short}\n", f"--time={format_walltime(minutes)}\n"),
            ):
                assert before in script
                script = script.replace(before, after)
            answer = cluster.test_only(script)
            walltime = format_walltime(minutes)
            try:
                render(known, partition=entry.name, nodes=nodes, walltime=walltime)
                refused = ""
            except InputError as error:
                refused = str(error)
            if answer.accepted == (not refused):
                return ""
            return f"{nodes} nodes, {walltime}, {entry.limits}: {answer.text!r}, {refused!r}"

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            assert [different for different in pool.map(compare, cases) if different] == []

    def test_directives_of_the_user_arrive_whole(self, cluster: Cluster, system: str) -> None:
        known = load_system(system)
        nodes = known.partition[0].min_nodes
        for value in ("two words", 'a"b', "a'b", "a#b", "a\\b", "$(x) `y` ;z", "é", "--x=1"):
            script = render(known, nodes=nodes, set_directives={"comment": value})
            answer = cluster.test_only(script)
            assert answer.accepted, f"{value}: {answer.text}"
        refused = render(known, nodes=nodes, set_directives={"no-such-directive": "1"})
        assert not cluster.test_only(refused).accepted


@pytest.mark.parametrize("cluster", ["stampede2-knl"], indirect=True)
@pytest.mark.parametrize(
    "value", ["two words", 'a"b', "a'b", "a#b", "a\\b", "\\", "'", "x y#z='\"\\", "--nodes=9999"]
)
def test_slurm_reads_the_very_text_of_a_directive(cluster: Cluster, value: str) -> None:
    script = render(load_system("stampede2-knl"), nodes=2, set_directives={"comment": value})
    assert cluster.read_comment(script) == value
