"""The MLPerf log of a run, and what MLPerf's own checker says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mlperf_logging.compliance_checker.mlp_compliance import make_checker

from hvdtrain.collect.mllog import RULESET, format_mllog
from hvdtrain.errors import InputError
from hvdtrain.plan.method.snapshot import EvaluationResult, SnapshotOrigin
from hvdtrain.runs.record import Record
from tests.collect.records import make_record, make_test_plan, make_training

SNAPSHOT = SnapshotOrigin(
    run_id="cycles",
    snapshot=1,
    step=9,
    evaluation=EvaluationResult(count=50_000, top1=0.7, top5=0.9, loss=1.1),
)
RUN = make_training("run", top1=0.761, fields={"seconds": 90 * 85.0 + 100})


def events(record: Record) -> list[dict[str, Any]]:
    lines = format_mllog(record).splitlines()
    assert all(line.startswith(":::MLLOG ") for line in lines)
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]


def accepted(path: Path, text: str, ruleset: str = RULESET) -> bool:
    path.write_text(text)
    checker = make_checker("training", ruleset, quiet=False, werror=True)
    valid: bool = checker.check_file(str(path), f"training_{ruleset}/common.yaml")
    return valid


@pytest.mark.parametrize("recipe", ["linear-90", "large-batch-100"])
def test_the_checker_accepts_the_log(tmp_path: Path, recipe: str) -> None:
    assert accepted(tmp_path / "log", format_mllog(make_training("run", recipe=recipe)))


def test_the_checker_would_notice(tmp_path: Path) -> None:
    text = format_mllog(RUN)
    assert not accepted(tmp_path / "log", text.replace("run_start", "run_begin"))
    assert not accepted(tmp_path / "log", text.replace('"open"', '"closed"'))


def test_the_ruleset_is_the_last_one_with_resnet(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"training_4\.1\.0/open_resnet"):
        accepted(tmp_path / "log", format_mllog(RUN), "4.1.0")


def test_values_are_those_of_the_record() -> None:
    values = {event["key"]: event["value"] for event in events(RUN)}
    assert values["submission_benchmark"] == "resnet"
    assert (values["global_batch_size"], values["opt_name"]) == (8192, "sgd")
    assert values["opt_base_learning_rate"] == pytest.approx(3.2)
    assert (values["train_samples"], values["eval_samples"]) == (1_281_167, 50_000)
    assert values["eval_accuracy"] == 0.761


def test_what_the_record_does_not_hold_is_said_to_be_unknown() -> None:
    values = {event["key"]: event for event in events(RUN)}
    assert "not known" in values["submission_org"]["value"]
    assert values["cache_clear"]["value"] is False
    assert "summed" in values["run_stop"]["metadata"]["note"]


def test_times_go_forward_and_add_up() -> None:
    found = events(RUN)
    times = [event["time_ms"] for event in found]
    assert times == sorted(times)
    at = {event["key"]: event["time_ms"] for event in found}
    assert at["run_start"] - at["init_start"] == 100_000
    assert at["run_stop"] - at["run_start"] == 90 * 85_000
    assert at["init_start"] == 1_769_860_800_000  # 2026-01-31T12:00:00Z


@pytest.mark.parametrize(("top1", "status"), [(0.759, "success"), (0.7589, "aborted")])
def test_success_is_mlperfs_target(top1: float, status: str) -> None:
    assert events(make_training("run", top1=top1))[-1]["metadata"]["status"] == status


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (make_training("run", fields={"status": "failed"}), "this one is failed"),
        (make_training("run", source="synthetic", fields={"kind": "synthetic"}), "real images"),
        (make_training("run", precision="bf16"), "another network"),
        (make_training("run", images=100_000), "another data set"),
        (make_record("run", plan=make_test_plan()), "an evaluation"),
        (msgspec.structs.replace(RUN, started="yesterday"), "ISO 8601"),
        (msgspec.structs.replace(RUN, seconds=1.7e308), "a thousand years"),
        (make_training("run", origin=SNAPSHOT), "began at a snapshot"),
    ],
)
def test_a_run_that_mlperf_does_not_speak_of_is_refused(record: Record, message: str) -> None:
    with pytest.raises(InputError, match=message):
        format_mllog(record)


def test_a_record_whose_clock_disagrees_still_goes_forward() -> None:
    times = [event["time_ms"] for event in events(msgspec.structs.replace(RUN, seconds=1.0))]
    assert times == sorted(times)
