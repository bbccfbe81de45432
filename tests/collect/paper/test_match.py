"""Which row of the paper a run repeats."""

from __future__ import annotations

import pytest

from hvdtrain.collect.paper.match import find_paper_row
from hvdtrain.collect.paper.tables import load_paper_table
from hvdtrain.plan.method.model import ModelSpec


@pytest.mark.parametrize("number", ["V", "VI"])
def test_every_row_is_found_by_its_job(number: str) -> None:
    table = load_paper_table("V" if number == "V" else "VI")
    assert table.system is not None
    for row in table.row:
        found = find_paper_row(
            table.system, table.node_batch_of(row), table.nodes_of(row), ModelSpec()
        )
        assert found == (table, row)


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
