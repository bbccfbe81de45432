"""The paper's tables as data: as printed, and in step with the paper's own arithmetic."""

from __future__ import annotations

import msgspec
import pytest

from hvdtrain.collect.paper import PaperRow, PaperTable, find_paper_row, load_paper_table
from hvdtrain.errors import InputError
from hvdtrain.plan.decode import convert
from hvdtrain.plan.modelspec import ModelSpec

TABLE_V = [
    (16, 256, 102),
    (32, 256, 85),
    (16, 512, 60),
    (20, 512, 55),
    (24, 512, 51.3),
    (32, 512, 48.8),
    (16, 768, 38),
    (16, 1024, 31.5),
    (32, 1024, 24.5),
    (32, 1536, 16.8),
]
TABLE_VI = [
    (32, 512, 15170, 84.3),
    (24, 800, 20480, 62.5),
    (16, 800, 19047, 67.2),
    (16, 1024, 24380, 52.5),
]


def test_table_v_is_as_printed() -> None:
    rows = load_paper_table("V").row
    assert [(row.node_batch, row.nodes, row.epoch_seconds) for row in rows] == TABLE_V
    assert {row.sockets for row in rows} == {row.images_per_second for row in rows} == {None}


def test_table_vi_is_as_printed() -> None:
    rows = load_paper_table("VI").row
    printed = [
        (row.node_batch, row.sockets, row.images_per_second, row.epoch_seconds) for row in rows
    ]
    assert printed == TABLE_VI
    assert {row.nodes for row in rows} == {None}


def test_every_column_has_the_papers_heading_and_a_unit() -> None:
    headings = [(c.name, c.heading, c.unit) for c in load_paper_table("VI").column]
    assert headings == [
        ("node_batch", "Local batch size", "images"),
        ("sockets", "# CPUs", "sockets"),
        ("images_per_second", "Average throughput", "images/s"),
        ("epoch_seconds", "time per epoch [sec]", "s"),
    ]
    assert [c.heading for c in load_paper_table("V").column] == [
        "Local batch size",
        "# nodes",
        "time per epoch [sec]",
    ]


@pytest.mark.parametrize("row", load_paper_table("VI").row, ids=lambda row: f"row {row.row}")
def test_throughput_times_seconds_is_one_epoch_of_imagenet(row: PaperRow) -> None:
    assert row.images_per_second is not None
    assert row.images_per_second * row.epoch_seconds == pytest.approx(1_280_000, rel=0.001)


@pytest.mark.parametrize(
    ("row", "global_batch"),
    [*zip(load_paper_table("VI").row, (8192, 9600, 6400, 8192), strict=True)],
)
def test_sockets_are_two_to_a_node(row: PaperRow, global_batch: int) -> None:
    """Source: Table VII prints the global batches of the same runs."""
    assert row.node_batch * load_paper_table("VI").nodes_of(row) == global_batch


def test_weak_scaling_in_the_text_disagrees_only_where_it_is_flagged() -> None:
    """Source: Section V-A1: 81 % at a local batch of 16 and 88 % at 32, 256 to 1024 nodes."""
    seconds = {(row.node_batch, row.nodes): row for row in load_paper_table("V").row}
    for node_batch, text_percent in ((16, 81), (32, 88)):
        small, large = seconds[node_batch, 256], seconds[node_batch, 1024]
        percent = 100 * small.epoch_seconds / (4 * large.epoch_seconds)
        assert (round(percent) != text_percent) == bool(large.flag)
    flagged = [row.row for row in load_paper_table("V").row if row.flag]
    assert flagged == [9]
    assert not any(row.flag for row in load_paper_table("VI").row)


@pytest.mark.parametrize(("node_batch", "nodes", "seconds"), TABLE_V)
def test_a_knl_job_finds_its_row(node_batch: int, nodes: int, seconds: float) -> None:
    found = find_paper_row("stampede2-knl", node_batch, nodes, ModelSpec())
    assert found is not None
    table, row = found
    assert (table.table, row.epoch_seconds) == ("V", seconds)


@pytest.mark.parametrize(("node_batch", "sockets", "throughput", "seconds"), TABLE_VI)
def test_a_marenostrum_job_finds_its_row(
    node_batch: int, sockets: int, throughput: float, seconds: float
) -> None:
    found = find_paper_row("marenostrum4", node_batch, sockets // 2, ModelSpec())
    assert found is not None
    table, row = found
    assert (table.table, row.images_per_second, row.epoch_seconds) == ("VI", throughput, seconds)


@pytest.mark.parametrize(
    ("system", "node_batch", "nodes", "model"),
    [
        ("stampede2-skx", 32, 256, ModelSpec()),
        ("marenostrum5-gpp", 32, 256, ModelSpec()),
        ("marenostrum4", 32, 512, ModelSpec()),
        ("stampede2-knl", 64, 256, ModelSpec()),
        ("stampede2-knl", 32, 255, ModelSpec()),
        ("stampede2-knl", 32, 256, ModelSpec(version="v1.5")),
        ("stampede2-knl", 32, 256, ModelSpec(image_size=128)),
        ("stampede2-knl", 32, 256, ModelSpec(classes=10)),
        ("stampede2-knl", 32, 256, ModelSpec(precision="bf16")),
        ("stampede2-knl", 32, 256, ModelSpec(name="small", image_size=32)),
    ],
)
def test_another_job_has_no_row(system: str, node_batch: int, nodes: int, model: ModelSpec) -> None:
    assert find_paper_row(system, node_batch, nodes, model) is None


@pytest.mark.parametrize(
    "change",
    [
        {"row": 2},
        {"epoch_seconds": None},
        {"nodes": 256},
        {"sockets": None, "nodes": 256},
    ],
)
def test_a_table_whose_rows_do_not_fit_its_columns_is_refused(change: dict[str, object]) -> None:
    table = msgspec.to_builtins(load_paper_table("VI"))
    changed = table["row"][0] | change
    first = {name: value for name, value in changed.items() if value is not None}
    table["row"] = [first, *table["row"][1:]]
    with pytest.raises(InputError, match="paper"):
        convert(table, PaperTable, "paper")


def test_sockets_without_their_number_per_node_are_refused() -> None:
    table = msgspec.to_builtins(load_paper_table("VI"))
    del table["sockets_per_node"]
    with pytest.raises(InputError, match="sockets_per_node"):
        convert(table, PaperTable, "paper")
