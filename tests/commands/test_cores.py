"""`hvdtrain cores`: the picture, the settings, and the node that the job landed on."""

from __future__ import annotations

import json
import subprocess

import pytest
from click import unstyle
from click.testing import CliRunner

from hvdtrain.commands import cores as module
from hvdtrain.commands.cores import command, draw_cores
from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.machine.core_map import make_core_map
from hvdtrain.plan.machine.system import load_system
from hvdtrain.plan.machine.topology import Topology, make_topology, parse_lscpu
from tests.golden.cases import FOLDER

SKYLAKE = make_topology(load_system("stampede2-skx").node)


def invoke(*words: str) -> str:
    environ = {"XDG_CONFIG_HOME": "/nowhere", "HVDTRAIN_SYSTEMS": None, "COLUMNS": "80"}
    return CliRunner(env=environ).invoke(command, words, catch_exceptions=False).stdout


def use_node(monkeypatch: pytest.MonkeyPatch, topology: Topology) -> None:
    monkeypatch.setattr(module, "read_topology", lambda: topology)


def test_the_picture_of_knights_landing() -> None:
    drawn = invoke("--system", "stampede2-knl")
    rows = [line.split(maxsplit=1) for line in drawn.splitlines() if ".." in line]
    assert [label for label, _ in rows] == ["0..31", "32..63", "64..67"]
    assert "".join(cells for _, cells in rows).replace(" ", "") == "a" * 64 + "#" * 4
    assert "compute 0-63; communication 64-67" in drawn
    # Legible without colour: where it is not a terminal there is none.
    assert "\x1b" not in drawn


def test_the_picture_of_two_ranks_on_two_sockets() -> None:
    drawn = invoke("--system", "stampede2-skx", "--ranks-per-node", "2")
    first, second = drawn.split("socket 1")
    assert " ".join("a" * 22 + "##") in first
    assert " ".join("b" * 22 + "##") in second
    assert "0..46" in first
    assert "1..47" in second


@pytest.mark.parametrize("width", [10, 40, 80, 200])
def test_the_picture_fits_the_terminal(width: int) -> None:
    drawn = unstyle(draw_cores(SKYLAKE, make_core_map(SKYLAKE, 1, 4), width))
    rows = [line for line in drawn.splitlines() if ".." in line]
    # Eight cores in a row is the least that is drawn.
    assert max(map(len, rows)) <= max(width, 8 + 2 * 8)
    assert sum(row.count("a") + row.count("#") for row in rows) == 48


def test_idle_cores_are_shown() -> None:
    topology = parse_lscpu("0,0,0,0\n1,1,0,0\n2,2,0,0\n")
    assert "a b ." in unstyle(draw_cores(topology, make_core_map(topology, 2, 0), 80))


def run_bash(settings: str) -> dict[str, str]:
    """What a shell has in its environment after it read the settings."""
    script = 'eval "$1"; env -0'
    done = subprocess.run(
        ["bash", "-c", script, "bash", settings], env={}, capture_output=True, text=True, check=True
    )
    pairs = (line.partition("=") for line in done.stdout.split("\0") if line)
    return {name: value for name, _, value in pairs}


def test_the_settings_are_those_that_a_certain_script_spells_out() -> None:
    settings = invoke("--system", "stampede2-knl", "--format", "sh")
    script = (FOLDER / "stampede2-knl-1.sh").read_text()
    exports = [line for line in settings.splitlines() if line.startswith("export ")]
    assert len(exports) > 15
    assert [line for line in exports if f"{line}\n" not in script] == []


def test_a_shell_reads_the_settings() -> None:
    found = run_bash(invoke("--system", "stampede2-skx", "--format", "sh"))
    assert found["KMP_AFFINITY"] == "granularity=fine,proclist=[0-43],explicit"
    assert found["CCL_WORKER_AFFINITY"] == "44,46,45,47"


def test_a_job_gets_the_numbering_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    use_node(monkeypatch, SKYLAKE)
    words = ("--system", "marenostrum4", "--format", "sh")
    assert run_bash(invoke(*words))["HVDTRAIN_COMM_CPUS"] == "22-23,46-47"
    assert run_bash(invoke(*words, "--detect"))["HVDTRAIN_COMM_CPUS"] == "44-47"


def test_a_node_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use_node(monkeypatch, parse_lscpu("0,0,0,0\n1,1,0,0\n"))
    with pytest.raises(RunError, match="2 cores, a node of marenostrum4 has 48"):
        invoke("--system", "marenostrum4", "--detect")


def test_the_local_machine_is_always_read(monkeypatch: pytest.MonkeyPatch) -> None:
    use_node(monkeypatch, parse_lscpu("0,0,0,0\n1,1,0,0\n2,2,0,0\n"))
    report = json.loads(invoke("--system", "local", "--json"))
    assert report["detected"]
    assert report["core_map"]["ranks"][0]["compute"] == [0, 1, 2]


def test_this_machine_can_be_read() -> None:
    assert json.loads(invoke("--system", "local", "--json"))["topology"]["cores"]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError):
        invoke("--system", "stampede2-knl", "--ranks-per-node", "69")
