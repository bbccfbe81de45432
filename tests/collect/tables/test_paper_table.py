"""The paper's tables with runs in them: which line a run stands in, and what stands beside it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from hvdtrain.collect.paper.match import belongs
from hvdtrain.collect.paper.tables import TABLES, TableNumber, load_paper_table
from hvdtrain.collect.runs import Run, make_run
from hvdtrain.collect.tables.formats import format_tables
from hvdtrain.collect.tables.paper_table import make_jobs_table
from hvdtrain.runs.record import Record
from tests.collect.records import evaluated, make_record, make_training

JOB_TABLES = tuple(number for number in TABLES if number not in ("X", "XI"))


def collect(number: TableNumber, *records: Record) -> list[dict[str, Any]]:
    """The rows of a table that some run stands in."""
    table = make_jobs_table(number, map(make_run, records))
    rows: list[dict[str, Any]] = json.loads(format_tables([table], "json"))[number]["rows"]
    return [row for row in rows if row["runs"]]


def places(*records: Record) -> set[tuple[str, int]]:
    """Table and row of every line that some run stands in."""
    return {(row["table"], row["row"]) for n in JOB_TABLES for row in collect(n, *records)}


def repeated(number: TableNumber, row_number: int) -> Record:
    """The run that repeats a row."""
    table = load_paper_table(number)
    row = table.row[row_number - 1]
    nodes = 128 if number == "VIII" else table.nodes_of(row)
    node_batch = row.node_batch or (row.global_batch or 0) // nodes
    return make_training(
        "run",
        recipe=row.recipe or "linear-90",
        epochs=row.epochs,
        system=row.system or table.system or "stampede2-knl",
        nodes=nodes,
        node_batch=node_batch,
    )


@pytest.mark.parametrize(
    ("number", "row"),
    [(n, row.row) for n in JOB_TABLES for row in load_paper_table(n).row],
)
def test_every_row_is_found_by_the_run_that_repeats_it(number: TableNumber, row: int) -> None:
    found = [row["row"] for row in collect(number, repeated(number, row))]
    assert row in found
    printed = load_paper_table(number).row
    # A second row can only be the same job: Table II's 8192 on 256 nodes has one of each.
    assert all(printed[other - 1].recipe == printed[row - 1].recipe for other in found)
    assert len(found) == 1


def test_one_run_stands_in_every_table_that_has_its_job() -> None:
    run = make_training("run", seconds=85.0, recipe="linear-90")
    assert places(run) == {("II", 1), ("V", 2), ("XII", 2)}
    other = make_training("run", recipe="linear-50", system="marenostrum4")
    assert places(other) == {("VI", 1), ("VII", 1), ("XIII", 1)}


def test_values_stand_beside_the_papers() -> None:
    (row,) = collect("II", make_training("run", top1=0.7505, top5=0.92, seconds=80.0))
    assert (row["global_batch"], row["nodes"], row["epochs"]) == (8192, 256, 90)
    assert (row["top1_percent"], row["top1_percent_paper"]) == (75.05, 75.81)
    assert row["top1_percent_difference_percent"] == pytest.approx(100 * (75.05 / 75.81 - 1))
    assert (row["minutes_to_train"], row["minutes_to_train_paper"]) == (120.0, 140.0)
    assert row["minutes_to_train_difference_percent"] == pytest.approx(100 * (120 / 140 - 1))
    assert (row["iterations"], row["iterations_paper"]) == (14_075, 14_200)
    assert (row["run_ids"], row["date"], row["system"], row["kind"]) == (
        "run",
        "2026-01-31",
        "stampede2-knl",
        "measured",
    )
    assert "127.5 min" in row["paper_flag"]


def test_sockets_are_counted_as_the_paper_counts_them() -> None:
    (row,) = collect("VI", make_training("run", system="marenostrum4", seconds=84.3))
    assert row["sockets"] == 512
    assert row["epoch_seconds_difference_percent"] == pytest.approx(0.0, abs=1e-9)
    assert row["images_per_second"] == pytest.approx(15_198, abs=1)


def test_projections_are_epochs_times_the_runs_own_seconds() -> None:
    (row,) = collect("XII", make_training("run", seconds=90.0))
    minutes = [row[f"minutes_to_{target}_percent"] for target in ("75_5", "76", "76_5")]
    assert minutes == [72.0, 96.0, 117.0]


def test_the_weight_decay_shown_is_that_of_the_run() -> None:
    (row,) = collect("VIII", make_training("run", recipe="collapse-90", nodes=64, node_batch=64))
    assert (row["weight_decay"], row["collapse_weight_decay"]) == (5e-5, 1e-4)
    assert row["collapse"] == "yes"


def test_runs_of_one_job_give_their_median_and_their_spread() -> None:
    runs = [make_training(f"run-{s:g}", seconds=s) for s in (84.0, 85.0, 89.0)]
    (row,) = collect("V", *runs)
    assert (row["epoch_seconds"], row["runs"]) == (85.0, 3)
    assert row["epoch_seconds_spread_percent"] == pytest.approx(100 * 5 / 85)
    assert row["run_ids"] == "run-84, run-85, run-89"


def test_kinds_and_systems_are_never_put_together() -> None:
    synthetic = make_training("dry", source="synthetic", fields={"kind": "synthetic"})
    forecast = make_training("guess", fields={"kind": "forecast"})
    rows = collect("V", make_training("real"), synthetic, forecast)
    assert {row["kind"]: row["run_ids"] for row in rows} == {
        "measured": "real",
        "synthetic": "dry",
        "forecast": "guess",
    }
    here, there = (
        make_training("here", system="lumi-c", nodes=240),
        make_training("there", nodes=240),
    )
    assert [row["system"] for row in collect("I", here, there)] == ["lumi-c", "stampede2-knl"]


def test_accuracy_on_synthetic_images_is_none() -> None:
    (row,) = collect("II", make_training("dry", source="synthetic", fields={"kind": "synthetic"}))
    assert row["top1_percent"] is None
    assert row["top1_percent_difference_percent"] is None


def test_an_accuracy_is_compared_on_any_machine_and_a_time_only_on_the_papers() -> None:
    run = make_training("run", recipe="large-batch-100", system="lumi-c", nodes=384, node_batch=128)
    (row,) = collect("IX", run)
    assert row["row"] == 4
    assert row["top1_percent_difference_percent"] is not None
    assert row["minutes_to_train"] is not None
    assert (row["minutes_to_train_paper"], row["minutes_to_train_difference_percent"]) == (
        None,
        None,
    )


LARGE: dict[str, Any] = {"recipe": "large-batch-100", "nodes": 1536}


@pytest.mark.parametrize(
    "record",
    [
        make_training("run", **LARGE, system="stampede2-skx", precision="bf16"),
        make_training("run", **LARGE, version="v1.5"),
        make_training("run", **LARGE, images=100_000),
        make_training("run", **LARGE, epochs=90),
        make_training("run", **(LARGE | {"recipe": "linear-90"}), epochs=100),
        make_training("run", **(LARGE | {"nodes": 1535})),
        make_training("run", **LARGE, fields={"status": "failed"}),
    ],
)
def test_another_training_is_in_no_table_of_trainings(record: Record) -> None:
    assert {table for table, _ in places(record)} <= {"V"}


def test_a_run_that_was_to_stop_early_is_no_training() -> None:
    run = make_training("run")
    plan = msgspec.structs.replace(run.plan, stop_after_steps=100)
    assert places(msgspec.structs.replace(run, plan=plan)) == {("V", 2), ("XII", 2)}


def test_a_run_on_another_system_is_in_no_table_of_a_system() -> None:
    assert places(make_training("run", system="lumi-c")) == set()


def test_rows_without_a_run_keep_the_papers_values() -> None:
    table = make_jobs_table("IX", [])
    rows = json.loads(format_tables([table], "json"))["IX"]["rows"]
    assert [row["top1_percent_paper"] for row in rows] == [76.4, 76.26, 75.31, 74.6, 73.94]
    assert {row["top1_percent"] for row in rows} == {None}
    assert [row["global_batch"] for row in rows] == [10_240, 16_384, 32_768, 49_152, 65_536]


def test_belongs_looks_at_the_whole_job() -> None:
    table = load_paper_table("V")
    run = make_run(make_record("run"))
    assert [row.row for row in table.row if belongs(run, table, row)] == [2]
    for change in ({"nodes": 255}, {"node_batch": 16}, {"system": "stampede2-skx"}):
        other: Run = msgspec.structs.replace(run, **change)
        assert not belongs(other, table, table.row[1])


MARKDOWN = """\
### Table V. Time per epoch on Stampede2

| Local batch size | # nodes | time per epoch \\[sec\\] |  paper | difference % | spread % | run          | date       | system        | kind     |
| ---------------: | ------: | ---------------------: | -----: | -----------: | -------: | ------------ | ---------- | ------------- | -------- |
|               16 |     256 |                        |    102 |              |          |              |            |               |          |
|               32 |     256 |                   83.3 |     85 |         -2.0 |      1.2 | a and 1 more | 2026-01-31 | stampede2-knl | measured |
"""  # noqa: E501 - compared whole


def test_the_table_for_people_has_the_papers_columns_in_the_papers_order() -> None:
    runs = [make_training("a", seconds=82.8), make_training("b", seconds=83.8)]
    table = make_jobs_table("V", map(make_run, runs))
    text = format_tables([table], "md")
    assert text.splitlines()[:6] == MARKDOWN.splitlines()
    assert "24.5\\* |" in text
    assert text.splitlines()[-1].startswith("\\* row 9, time per epoch")


@pytest.mark.parametrize("number", JOB_TABLES)
def test_the_headings_are_the_papers_in_its_order(number: TableNumber) -> None:
    table = make_jobs_table(number, [])
    printed = [column.heading for column in load_paper_table(number).column]
    assert [c.title for c in table.wide_columns if c.title in printed] == printed
    assert "spread %" not in [column.title for column in table.wide_columns]


def test_a_run_without_an_evaluation_still_has_its_time() -> None:
    run = make_record("run", plan=make_training("run").plan)
    (row,) = collect("II", run)
    assert row["top1_percent"] is None
    assert row["minutes_to_train"] == 5.0


def test_the_accuracy_is_that_after_the_last_epoch() -> None:
    run = evaluated(make_training("run", top1=0.75), 45, top1=0.77)
    assert collect("II", run)[0]["top1_percent"] == 75.0


def test_an_accuracy_is_shown_with_two_decimals_where_the_paper_does_not_say() -> None:
    run = evaluated(repeated("VIII", 1), 90, top1=37_891 / 50_000)
    text = format_tables([make_jobs_table("VIII", [make_run(run)])], "md")
    assert " 75.78 |" in text
    assert collect("VIII", run)[0]["top1_percent"] == pytest.approx(75.782)
