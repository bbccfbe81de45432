"""The job plan: defaults of the paper, limits of the sites, and what the user is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hvdtrain.cli.defaults import PAPERS_SYSTEM
from hvdtrain.errors import InputError
from hvdtrain.plan.job.job_plan import JobPlan, ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.job.summary import describe_job
from hvdtrain.plan.machine.system import load_system

ORIGIN = ScriptOrigin(command="hvdtrain render-job", hvdtrain="/opt/hvdtrain/bin/hvdtrain")


def job(**request: Any) -> JobPlan:
    asked = JobRequest(**request)
    return make_job(asked, load_system(asked.system or PAPERS_SYSTEM), ORIGIN)


def test_the_default_is_the_papers_49152_run() -> None:
    plan = job(nodes=1536)
    assert plan.partition.name == "large"
    assert (plan.run.global_batch, plan.run.total_steps) == (49_152, 2607)
    assert plan.recipe == "large-batch-100"
    assert plan.forecast is not None
    assert plan.walltime_min == plan.forecast.walltime_min == 46
    assert plan.directives["job-name"] == "hvdtrain-stampede2-knl-1536n-b49152"
    assert any("ticket" in note for note in plan.notes)


@pytest.mark.parametrize(("nodes", "recipe"), [(511, "linear-90"), (512, "large-batch-100")])
def test_the_recipe_follows_the_global_batch(nodes: int, recipe: str) -> None:
    assert job(nodes=nodes).recipe == recipe


def test_accumulation_multiplies_the_global_batch_and_not_what_a_rank_holds() -> None:
    plan = job(nodes=256, accumulate=8)
    assert (plan.run.rank_batch, plan.run.global_batch) == (32, 65_536)
    assert plan.recipe == "large-batch-100"
    assert "x 32 images x 8 accumulated = 65536" in dict(describe_job(plan))["global batch"]
    single = job(nodes=256).forecast
    assert plan.forecast is not None and single is not None
    # Eight times the computation and one reduction.
    ratio = plan.forecast.step_seconds.value / single.step_seconds.value
    assert 7 < ratio < 8


def test_a_forecast_outside_of_what_was_fitted_is_told() -> None:
    assert any("outside" in note for note in job(nodes=2).notes)
    assert any("outside" in note for note in job(nodes=512, node_batch=64).notes)
    assert not any("outside" in note for note in job(nodes=512).notes)


def test_directives_of_tacc() -> None:
    assert job(nodes=2, account="me").directives == {
        "job-name": "hvdtrain-stampede2-knl-2n-b64",
        "nodes": "2",
        "ntasks-per-node": "1",
        "time": "5-00:00:00",
        "partition": "long",
        "account": "me",
        "output": "%x-%j.out",
        "open-mode": "append",
        "requeue": "",
        "signal": "B:USR1@695",
    }


def test_directives_of_marenostrum4() -> None:
    directives = job(system="marenostrum4", nodes=512).directives
    assert directives["qos"] == "xlarge"
    assert directives["chdir"] == "."
    assert directives["cpus-per-task"] == "48"
    assert "partition" not in directives
    assert "mem" not in directives


def test_any_directive_can_be_added_replaced_and_removed() -> None:
    directives = job(
        nodes=300,
        set_directives={"output": "/logs/%j", "exclusive": "", "time": "1:00:00"},
        unset_directives=("requeue", "job-name"),
    ).directives
    assert directives["output"] == "/logs/%j"
    assert directives["time"] == "01:00:00"
    assert directives["exclusive"] == ""
    assert not {"requeue", "job-name"} & directives.keys()


def test_a_directive_that_the_site_rejects_is_refused_with_its_reason() -> None:
    with pytest.raises(InputError, match="whole nodes"):
        job(nodes=2, set_directives={"mem": "4G"})


def test_an_account_is_asked_for_where_it_is_needed() -> None:
    with pytest.raises(InputError) as caught:
        job(system="marenostrum5-gpp", nodes=2)
    assert caught.value.field == "--account"
    assert job(system="marenostrum5-gpp", nodes=2, account="x").directives["account"] == "x"


def test_a_run_that_is_too_long_for_one_job_says_on_how_many_nodes_it_would_fit() -> None:
    plan = job(nodes=1)
    assert (plan.partition.name, plan.walltime_min) == ("long", 7200)
    (note,) = [note for note in plan.notes if "does not fit into one job" in note]
    assert "on 6 nodes" in note
    assert not [note for note in job(nodes=6).notes if "does not fit" in note]
    assert [note for note in job(nodes=5).notes if "does not fit" in note]


def test_a_wall_time_below_the_forecast_is_taken_and_told() -> None:
    plan = job(nodes=1536, walltime="10")
    assert plan.walltime_min == 10
    assert any("00:46:00" in note for note in plan.notes)


def test_a_system_that_was_switched_off_says_so() -> None:
    said = "stampede2-knl was switched off in 2024: no job starts there"
    assert said in job(nodes=4).notes
    assert not any("switched off" in note for note in job(system="frontera", nodes=4).notes)


def test_without_a_step_time_the_wall_time_is_the_limit_and_told() -> None:
    plan = job(system="lumi-c", nodes=8, account="me")
    assert plan.forecast is None
    assert plan.walltime_min == 2880
    assert any("no step time" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("choice", "label"),
    [
        ({"model": "small", "image_size": 32, "classes": 1000}, "small/32/1000/fp32"),
        ({"image_size": 128}, "resnet50-v1/128/1000/fp32"),
        ({"precision": "bf16"}, "resnet50-v1/224/1000/bf16"),
        ({"model_version": "v1.5"}, "resnet50-v1.5/224/1000/fp32"),
    ],
)
def test_a_step_time_says_nothing_of_another_model(choice: dict[str, Any], label: str) -> None:
    plan = job(nodes=256, **choice)
    assert job(nodes=256).forecast is not None
    assert plan.forecast is None
    # As on a system without a step time: the limit of the first partition that takes 256 nodes.
    assert (plan.partition.name, plan.walltime_min) == ("normal", 2880)
    fitted = "the step time of stampede2-knl was fitted to resnet50-v1/224/1000/fp32"
    why = f"{fitted}, and says nothing of {label}"
    assert any(
        note.startswith(f"{why}: the wall time is the limit of normal") for note in plan.notes
    )
    described = dict(describe_job(plan))
    assert described["forecast"] == f"none: {why}"
    assert described["model"] == label
    assert "epoch time" not in described


def test_the_wall_time_of_another_model_can_be_given() -> None:
    plan = job(nodes=256, model="small", walltime="2:00:00")
    assert (plan.forecast, plan.walltime_min) == (None, 120)
    assert not any("step time" in note for note in plan.notes)


def test_a_run_of_a_few_updates_is_forecast_as_such() -> None:
    plan, whole = job(nodes=256, steps=100), job(nodes=256)
    assert plan.run.total_steps == 100
    assert plan.forecast is not None and whole.forecast is not None
    ratio = plan.forecast.minutes_to_train.value / whole.forecast.minutes_to_train.value
    assert ratio == pytest.approx(100 / whole.run.total_steps)
    assert dict(describe_job(plan))["updates"].startswith("100: 0.6394 epochs of 156.392")


def test_limits_that_are_unverified_are_told() -> None:
    assert any("unverified" in note for note in job(system="marenostrum4", nodes=512).notes)


def test_a_qos_of_ones_own_replaces_the_partitions_and_is_told() -> None:
    plan = job(system="marenostrum5-gpp", nodes=2, account="a", qos="gp_mine")
    assert plan.directives["qos"] == "gp_mine"
    assert any("gp_mine" in note for note in plan.notes)
    known = job(system="marenostrum5-gpp", nodes=2, account="a", qos="gp_debug")
    assert known.partition.name == "gp_debug"


@pytest.mark.parametrize(("ranks", "comm"), [(1, 4), (2, 4), (4, 4), (3, 6), (8, 8), (32, 0)])
def test_other_ranks_keep_communication_cores_that_divide(ranks: int, comm: int) -> None:
    plan = job(nodes=2, ranks_per_node=ranks, node_batch=ranks * 2)
    assert plan.core_map.comm_cores == comm
    assert plan.run.rank_batch == 2


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({}, "--nodes"),
        ({"nodes": 2049}, "--nodes"),
        ({"nodes": 2, "system": "local"}, "--system"),
        ({"nodes": 2, "partition": "nope"}, "--partition"),
        ({"nodes": 2, "walltime": "6-00:00:00"}, "--walltime"),
        ({"nodes": 2, "walltime": "soon"}, "--walltime"),
        ({"nodes": 2, "walltime": ""}, "--walltime"),
        ({"nodes": 2, "node_batch": 33, "ranks_per_node": 2}, "--node-batch"),
        ({"nodes": 2, "ranks_per_node": 0}, "--ranks-per-node"),
        ({"nodes": 2, "comm_cores": 68}, "--comm-cores"),
        ({"nodes": 2, "recipe": "nope"}, "--recipe"),
        ({"nodes": 2, "epochs": -1.0}, "--epochs"),
        ({"nodes": 1536, "node_batch": 1000}, "global batch"),
    ],
)
def test_the_impossible_is_refused_and_named(request_: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        job(**request_)
    assert caught.value.field == field


def test_the_description_has_what_a_person_asks_first() -> None:
    lines = dict(describe_job(job(nodes=1536)))
    assert lines["global batch"] == "1536 nodes x 1 rank x 32 images = 49152"
    assert lines["updates"] == "2607: 100 epochs of 26.0654"
    assert lines["peak learning rate"] == "6.4"
    assert lines["epoch time"].startswith("16.6 s (15.0 to 18.1)")
    assert lines["time to train"] == "28 min, at most 30 min; 707 node-hours"
    assert "Intel Caffe" in lines["forecast"]
    assert "compute 0-63; communication 64-67" in lines["cores of rank 0"]


def test_a_plan_can_be_printed() -> None:
    assert msgspec.json.decode(msgspec.json.encode(job(nodes=1536)))["walltime_min"] == 46
