"""The rows: seconds per epoch, efficiency, labels, and the paper beside them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hvdtrain.collect.runs import epoch_seconds, make_run
from hvdtrain.collect.tables.runs_table import Row, make_rows
from hvdtrain.plan.method.dataset import IMAGENET_TRAIN_IMAGES
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.runs.record import Record
from hvdtrain.runs.store import Incomplete
from tests.collect.records import make_record, make_test_plan

COMPARISON = (
    "efficiency",
    "speedup",
    "efficiency_base",
    "paper_table",
    "paper_row",
    "paper_epoch_seconds",
    "paper_images_per_second",
    "difference_percent",
    "paper_flag",
)


def row_of(record: Record | Incomplete) -> Row:
    (row,) = make_rows([make_run(record)])
    return row


def synthetic(run_id: str = "dry", **fields: Any) -> Record:
    plan = make_test_plan(source="synthetic")
    return make_record(run_id, plan=plan, kind="synthetic", **fields)


def test_the_first_epoch_is_left_out_when_another_full_one_remains() -> None:
    record = make_record(epoch_seconds=(200.0, 84.0, 86.0))
    assert epoch_seconds(record) == (85.0, "epochs")


def test_a_lone_full_epoch_counts_as_it_was() -> None:
    assert epoch_seconds(make_record(epoch_seconds=(200.0,))) == (200.0, "epochs")


def test_an_epoch_cut_short_does_not_count() -> None:
    record = make_record(epoch_seconds=(200.0, 85.0, 3.0))
    short = msgspec.structs.replace(record.epochs[2], steps=2)
    record = msgspec.structs.replace(record, epochs=(*record.epochs[:2], short))
    assert epoch_seconds(record) == (85.0, "epochs")


def test_a_resumed_run_loses_no_full_epoch_to_a_partial_first_one() -> None:
    record = make_record(epoch_seconds=(50.0, 84.0, 86.0))
    partial = msgspec.structs.replace(record.epochs[0], steps=40)
    record = msgspec.structs.replace(record, epochs=(partial, *record.epochs[1:]))
    assert epoch_seconds(record) == (85.0, "epochs")


@pytest.mark.parametrize("images", [1_280_000, IMAGENET_TRAIN_IMAGES - 30])
def test_imagenet_without_a_few_broken_files_is_imagenet(images: int) -> None:
    record = make_record(plan=make_test_plan(images=images))
    assert epoch_seconds(record) == (85.0, "epochs")


@pytest.mark.parametrize("images", [100_000, 1_260_000, 14_000_000])
def test_another_data_set_is_derived_from_the_throughput(images: int) -> None:
    record = make_record(plan=make_test_plan(images=images), images_per_second=10_000.0)
    assert epoch_seconds(record) == (128.1167, "throughput")


def test_a_truncated_run_is_derived_from_the_throughput() -> None:
    record = make_record(epoch_seconds=(), images_per_second=10_000.0)
    assert epoch_seconds(record) == (128.1167, "throughput")


@pytest.mark.parametrize("throughput", [None, 0.0, 5e-324])
def test_no_throughput_gives_no_number(throughput: float | None) -> None:
    record = make_record(epoch_seconds=(), images_per_second=throughput)
    assert epoch_seconds(record) is None
    assert row_of(record).difference_percent is None


def test_a_measured_run_stands_beside_the_paper() -> None:
    row = row_of(make_record(epoch_seconds=(99.0, 86.7, 86.7), images_per_second=14_800.0))
    assert row.label == "measured"
    assert (row.paper_table, row.paper_row, row.paper_epoch_seconds) == ("V", 2, 85.0)
    assert row.difference_percent == pytest.approx(2.0)
    assert row.paper_images_per_second is None


def test_nodes_of_marenostrum_are_half_its_sockets() -> None:
    row = row_of(make_record(plan=make_test_plan(system="marenostrum4", nodes=256)))
    assert (row.paper_table, row.paper_row, row.paper_images_per_second) == ("VI", 1, 15_170.0)


def test_what_the_paper_disagrees_with_itself_about_is_told() -> None:
    row = row_of(make_record(plan=make_test_plan(nodes=1024)))
    assert row.paper_flag is not None
    assert "88 %" in row.paper_flag


def test_two_ranks_of_16_are_a_node_batch_of_32() -> None:
    plan = msgspec.structs.replace(make_test_plan(), ranks_per_node=2, rank_batch=16)
    row = row_of(make_record(plan=plan))
    assert (row.node_batch, row.paper_row) == (32, 2)


@pytest.mark.parametrize(
    ("record", "label"),
    [
        (synthetic(), "synthetic"),
        (make_record(kind="forecast"), "forecast"),
        (make_record(status="failed", failure="rank 3 is gone"), "failed"),
        (make_record(status="interrupted"), "interrupted"),
        (make_record(status="diverged"), "diverged"),
        (synthetic(status="failed"), "synthetic, failed"),
        (Incomplete(run_id="run", plan=make_test_plan()), "incomplete"),
        (
            Incomplete(run_id="run", plan=make_test_plan(source="synthetic")),
            "synthetic, incomplete",
        ),
    ],
)
def test_only_a_completed_measured_run_passes_for_measured(
    record: Record | Incomplete, label: str
) -> None:
    row = row_of(record)
    assert row.label == label
    assert {name for name in COMPARISON if getattr(row, name) is not None} <= {
        "efficiency",
        "speedup",
        "efficiency_base",
    }
    assert (row.efficiency is not None) == (row.status == "completed")


def run(run_id: str, nodes: int, throughput: float, **fields: Any) -> Record:
    plan = fields.pop("plan", None) or make_test_plan(nodes=nodes)
    return make_record(run_id, plan=plan, images_per_second=throughput, **fields)


def efficiencies(*records: Record) -> dict[str, tuple[float | None, str | None]]:
    return {
        row.run_id: (row.efficiency, row.efficiency_base)
        for row in make_rows(map(make_run, records))
    }


def test_efficiency_is_per_node_and_names_its_base() -> None:
    """Source: Section V-A1: 32 per node, 256 to 1024 nodes; Table V gives 86.7 %."""
    found = efficiencies(
        run("big", 1024, IMAGENET_TRAIN_IMAGES / 24.5),
        run("small", 256, IMAGENET_TRAIN_IMAGES / 85),
    )
    assert found["small"] == (1.0, "small")
    efficiency, base = found["big"]
    assert efficiency == pytest.approx(85 / (4 * 24.5))
    assert base == "small"


def test_a_run_alone_is_its_own_base() -> None:
    assert efficiencies(run("alone", 512, 25_000.0)) == {"alone": (1.0, "alone")}


@pytest.mark.parametrize(
    "other",
    [
        run("other", 1, 1e6, status="failed"),
        run("other", 1, 1e6, kind="synthetic", plan=make_test_plan(nodes=1, source="synthetic")),
        run("other", 1, 1e6, plan=make_test_plan(nodes=1, system="stampede2-skx")),
        run("other", 1, 1e6, plan=make_test_plan(nodes=1, node_batch=16)),
        run("other", 1, 1e6, plan=make_test_plan(nodes=1, precision="bf16")),
        run("other", 1, 0.0),
    ],
)
def test_only_a_completed_run_of_the_same_sort_is_a_base(other: Record) -> None:
    assert efficiencies(run("mine", 256, 15_000.0), other)["mine"] == (1.0, "mine")


def test_of_two_smallest_runs_the_faster_is_the_base() -> None:
    found = efficiencies(run("slow", 256, 9_000.0), run("fast", 256, 10_000.0))
    assert found == {"slow": (0.9, "fast"), "fast": (1.0, "fast")}


def test_numbers_at_the_edge_of_floats_do_not_raise() -> None:
    records = [run("a", 1, 5e-324), run("b", 2, 1.7e308), run("c", 1024, 1.7e308)]
    rows = make_rows(map(make_run, records))
    assert [row.efficiency for row in rows] == [1.0, None, None]


def test_rows_are_in_the_order_of_the_paper() -> None:
    jobs = [(1536, 32), (512, 32), (512, 16), (256, 32)]
    records = [
        make_record(f"r{i}", plan=make_test_plan(nodes=nodes, node_batch=batch))
        for i, (nodes, batch) in enumerate(jobs)
    ]
    rows = make_rows(map(make_run, records))
    assert [(row.nodes, row.node_batch) for row in rows] == sorted(jobs)


def test_a_model_is_told_apart_by_everything_that_changes_its_work() -> None:
    assert ModelSpec().label == "resnet50-v1/224/1000/fp32"
    small = ModelSpec(name="small", image_size=32, classes=10, precision="bf16")
    assert small.label == "small/32/10/bf16"
