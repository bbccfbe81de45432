"""Whole scripts: the golden ones, and what must hold for every system."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hvdtrain.errors import InputError
from hvdtrain.plan.job.job_plan import JobPlan, ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import load_system, system_files
from hvdtrain.resources import resource_folder
from hvdtrain.slurm.render import render_script, template_names, train_options
from tests.golden.cases import CASES, FOLDER, render

SYSTEMS = sorted(set(system_files(None)) - {"local"})


def plan_of(system: str = "stampede2-knl", **request: Any) -> JobPlan:
    asked = JobRequest(**{"nodes": 32, "account": "me", "system": system, **request})
    origin = ScriptOrigin(command="hvdtrain render-job", hvdtrain="/opt/hvdtrain/bin/hvdtrain")
    return make_job(asked, load_system(system), origin)


def script_of(system: str = "stampede2-knl", **request: Any) -> str:
    return render_script(plan_of(system, **request))


@pytest.mark.parametrize("name", CASES)
def test_a_golden_script_is_rendered_to_the_last_byte(name: str) -> None:
    assert render(CASES[name]) == (FOLDER / f"{name}.sh").read_text()


def test_there_is_a_golden_script_for_every_case_and_every_system() -> None:
    names = {path.stem for path in FOLDER.glob("*.sh")}
    assert names == set(CASES)
    assert {name.rpartition("-")[0] for name in names} == set(SYSTEMS)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.stem)
def test_bash_reads_a_golden_script(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True, capture_output=True)


def test_the_script_for_1536_nodes_spells_out_what_a_person_would_check() -> None:
    lines = (FOLDER / "stampede2-knl-1536.sh").read_text().splitlines()
    expected = [
        "#SBATCH --nodes=1536",
        "#SBATCH --partition=large",
        "#SBATCH --time=00:46:00",
        "#SBATCH --requeue",
        "export OMP_NUM_THREADS=64",
        "export KMP_AFFINITY='granularity=fine,proclist=[0-63],explicit'",
        "export TF_NUM_INTRAOP_THREADS=64",
        "export TF_NUM_INTEROP_THREADS=1",
        "export CCL_WORKER_AFFINITY=64,65,66,67",
        "export HOROVOD_THREAD_AFFINITY=132",
        "ibrun \\",
        "    --rank-batch 32 \\",
        "    --recipe large-batch-100 \\",
    ]
    assert [line for line in expected if line not in lines] == []


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("data", [None, "synthetic", "/scratch/imagenet"])
def test_every_script_is_one_that_slurm_and_the_site_can_take(
    system: str, data: str | None
) -> None:
    script = script_of(system, data=data)
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert script.endswith("\n")
    assert "\n\n\n" not in script
    # A directive after the first command is not read.
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first_command:] if line.startswith("#SBATCH")]
    assert any(line.startswith("#SBATCH --job-name=") for line in lines)
    # Slurm does not expand variables in a directive.
    assert not [line for line in lines if line.startswith("#SBATCH") and "$" in line]
    # Only where the site wants it, for whole nodes.
    assert ("--mem" in script) == (system == "lumi-c")
    assert ("/dev/shm" in script) == (data != "synthetic")
    assert ("HVDTRAIN_DATA:?" in script) == (data is None)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, capture_output=True)


@pytest.mark.parametrize("system", SYSTEMS)
def test_where_the_numbering_is_not_certain_the_job_asks_the_node(system: str) -> None:
    plan = plan_of(system)
    script = render_script(plan)
    named = [item.name for layer in plan.layers for item in layer.settings if item.from_map]
    counts = [item.name for layer in plan.layers for item in layer.settings if not item.from_map]
    detect = plan.system.node.numbering == "detect"
    assert ("--detect --format sh" in script) == detect
    for name in named:
        assert (f"export {name}=" in script) != detect
    for name in counts:
        assert f"export {name}=" in script


def test_srun_is_told_the_threads_of_a_rank_as_slurm_22_wants() -> None:
    script = script_of("marenostrum4")
    assert "#SBATCH --cpus-per-task=48\n" in script
    assert "--cpus-per-task=48 --cpu-bind=none" in script
    changed = script_of("marenostrum4", unset_directives=("cpus-per-task",))
    assert "cpus-per-task" not in changed


@pytest.mark.parametrize("threads_per_core", [1, 2])
def test_where_only_cores_count_job_and_steps_count_alike(threads_per_core: int) -> None:
    system = load_system("archer2")
    node = msgspec.structs.replace(system.node, threads_per_core=threads_per_core)
    system = msgspec.structs.replace(system, node=node)
    origin = ScriptOrigin(command="c", hvdtrain="h")
    script = render_script(
        make_job(JobRequest(nodes=4, walltime="60", account="me"), system, origin)
    )
    assert "#SBATCH --cpus-per-task=64\n#SBATCH --hint=nomultithread\n" in script
    assert (
        "srun --nodes=4 --ntasks=8 --ntasks-per-node=2 --cpus-per-task=64 --threads-per" in script
    )
    assert "--hint" not in script.partition("set -euo")[2]
    # Said for one job only: Slurm hands it on to srun, which would drop it.
    told = script_of("lumi-c", set_directives={"hint": "nomultithread"}, walltime="60")
    assert " --cpus-per-task=64 --threads-per-core=1 --cpu-bind=none " in told
    untold = script_of("archer2", unset_directives=("hint",), walltime="60")
    assert not re.findall("hint|--threads-per-core", untold.replace("SLURM_HINT", ""))


def test_users_of_their_own_systems_find_them_in_the_job() -> None:
    asked = JobRequest(nodes=2)
    origin = ScriptOrigin(command="c", hvdtrain="h", systems_folder="/home/me/my systems")
    script = render_script(make_job(asked, load_system("stampede2-knl"), origin))
    assert "export HVDTRAIN_SYSTEMS='/home/me/my systems'\n" in script


def test_modules_and_variables_come_as_the_site_needs_them() -> None:
    plan = plan_of()
    slurm = msgspec.structs.replace(
        plan.slurm,
        module_purge=True,
        module_folders=("/apps/a folder", "/apps/b"),
        modules=("one/1", "two"),
        environment={"I_MPI_PMI_LIBRARY": "/usr/lib64/lib'pmi2'.so", "LINE": "$HOME `x`"},
    )
    script = render_script(msgspec.structs.replace(plan, slurm=slurm))
    begin, end = script.index("set +u\n"), script.index("HVDTRAIN=${HVDTRAIN")
    site = script[begin:end] + '\nprintf "%s\\n" "$I_MPI_PMI_LIBRARY" "$LINE"'
    module = 'module() { printf "<%s>" "$@"; echo; }\n'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", module + site],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout.splitlines() == [
        "<purge>",
        "<use></apps/a folder></apps/b>",
        "<load><one/1><two>",
        "/usr/lib64/lib'pmi2'.so",
        "$HOME `x`",
    ]


def test_the_ranks_get_what_the_plan_decided() -> None:
    model: dict[str, Any] = {"model": "small", "image_size": 32, "classes": 10, "precision": "bf16"}
    plan = plan_of(epochs=2.5, **model, data="/d")
    assert train_options(plan) == (
        ("--system", "stampede2-knl"),
        ("--nodes", "32"),
        ("--ranks-per-node", "1"),
        ("--rank-batch", "32"),
        ("--recipe", "linear-90"),
        ("--epochs", "2.5"),
        ("--model", "small"),
        ("--image-size", "32"),
        ("--classes", "10"),
        ("--precision", "bf16"),
    )
    assert ("--images-per-epoch", "1281167") in train_options(plan_of(data="synthetic"))


def test_every_option_of_a_training_reaches_both_lines_of_the_job() -> None:
    script = script_of(
        data="/d",
        seed=3,
        steps=10,
        precision="bf16",
        tensorboard=True,
        attest=False,
        checkpoint_minutes=2.5,
        checkpoint_epochs=4,
    )
    for words in (
        "--steps 10",
        "--precision bf16",
        "--seed 3",
        "--checkpoint-minutes 2.5",
        "--checkpoint-epochs 4",
        "--no-attest",
        "--tensorboard",
    ):
        assert script.count(f"    {words} \\\n") == 2
    # Only images that are made up have a number that can be chosen.
    assert "--images-per-epoch" not in script_of(data="/d", images_per_epoch=512)
    assert "    --images-per-epoch 5120 \\\n" in script_of(data="synthetic", images_per_epoch=5120)


def test_the_deadline_is_that_of_the_preflight_alone() -> None:
    script = render_script(plan_of(deadline=120.0))
    assert script.count("--deadline 120.0 \\") == 1
    assert "preflight \\\n    --deadline" in script
    assert "--deadline" not in render_script(plan_of())


def test_a_script_is_named_after_what_it_trains() -> None:
    assert "# ResNet-50, made by hvdtrain " in script_of()
    assert "# A small residual network, made by hvdtrain " in script_of(model="small")


def test_accumulation_reaches_the_ranks_and_only_when_asked_for() -> None:
    assert ("--accumulate", "8") in train_options(plan_of(nodes=256, accumulate=8))
    assert "    --accumulate 8 \\\n" in render_script(plan_of(nodes=256, accumulate=8))
    assert "--accumulate" not in render_script(plan_of(nodes=256))


def test_a_template_of_ones_own_changes_one_block(tmp_path: Path) -> None:
    path = tmp_path / "mine.sh.j2"
    path.write_text(
        '{% extends "slurm.sh.j2" %}\n'
        "{% block setup %}\nsource /apps/python/activate\n\n{% endblock %}\n"
    )
    script = script_of(template=str(path))
    assert "\nsource /apps/python/activate\n" in script
    assert script.replace("source /apps/python/activate\n\n", "") == script_of(template="slurm")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ missing }}", "missing"),
        ("{% if %}", "Expected"),
        ('echo "{{ plan.job_name }}"', "inside"),
        ("{{ plan.run }}", "cannot print"),
        ("{{ 1 / 0 }}", "division"),
        ('{% extends "nothing" %}', "nothing"),
    ],
)
def test_a_template_that_does_not_work_is_wrong_input(
    tmp_path: Path, source: str, said: str
) -> None:
    path = tmp_path / "mine.sh.j2"
    path.write_text(source)
    with pytest.raises(InputError) as caught:
        script_of(template=str(path))
    assert caught.value.field == "--template"
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "/nothing/mine.sh.j2", "../base", ".", "/"])
def test_a_template_that_is_not_there_is_wrong_input(name: str) -> None:
    with pytest.raises(InputError) as caught:
        script_of(template=name)
    assert caught.value.field == "--template"


def test_the_shipped_templates() -> None:
    assert template_names() == ["base", "slurm", "tacc"]


def test_the_script_of_every_scheduler_knows_none_of_them() -> None:
    source = (resource_folder("templates") / "base.sh.j2").read_text()
    assert re.findall(r"(?i)slurm|sbatch|srun|sbcast|squeue|scontrol|scancel", source) == []
