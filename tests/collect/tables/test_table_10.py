"""Table X: the best measured run at each batch, below the paper's rows."""

from __future__ import annotations

import json
from typing import Any

from hvdtrain.collect.runs import make_run
from hvdtrain.collect.tables.formats import format_tables
from hvdtrain.collect.tables.table_10 import make_literature_table
from hvdtrain.runs.record import Record
from tests.collect.records import make_training


def rows(*records: Record) -> list[dict[str, Any]]:
    table = make_literature_table(map(make_run, records))
    found: list[dict[str, Any]] = json.loads(format_tables([table], "json"))["X"]["rows"]
    return found


def test_the_papers_rows_stay_as_printed() -> None:
    found = rows()
    assert [row["work"] for row in found[:4]] == [
        "IBM [4]",
        "Facebook [3]",
        "You et al. [5]",
        "This work",
    ]
    assert found[3]["top1_percent_48k"] == 74.6
    text = format_tables([make_literature_table([])], "md").splitlines()
    assert text[7].startswith(
        "| This work                   | 76.6%\\* | 76.26% | 75.31% | 74.6% |"
    )
    assert text[8].startswith("| your best run               |       - |      - |")


def test_the_best_measured_run_of_a_batch_counts_whatever_its_recipe() -> None:
    own, difference = rows(
        make_training("good", top1=0.7642),
        make_training("better", top1=0.7651, recipe="collapse-90", nodes=64, node_batch=128),
        make_training("dry", top1=0.99, source="synthetic", fields={"kind": "synthetic"}),
        make_training("bf16", top1=0.99, precision="bf16"),
        make_training("small", top1=0.99, images=50_000),
        make_training("failed", top1=0.99, fields={"status": "failed"}),
        make_training("large", top1=0.746, nodes=1536),
    )[4:]
    assert (own["top1_percent_8k"], own["top1_percent_16k"]) == (76.51, None)
    assert own["top1_percent_48k"] == 74.6
    assert own["run_ids"] == "8K: better, 48K: large"
    assert own["kind"] == "8K: measured, 48K: measured"
    assert difference["top1_percent_8k"] == 100 * (76.51 / 76.6 - 1)
    assert difference["top1_percent_48k"] == 0.0
