"""Results to report: measured and synthetic runs, one that failed and one that goes on."""

from __future__ import annotations

from pathlib import Path

from hvdtrain.collect.report.page import Page, Source, make_page
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.plan.method.snapshot import EvaluationResult
from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.record import EpochResult, RankPlacement
from hvdtrain.runs.store import Malformed, read_results
from tests.collect.records import (
    make_record,
    make_test_plan,
    write_metrics,
    write_plan,
    write_record,
)

SCRIPT = "#!/bin/bash\n#SBATCH --nodes=256\n\tsrun hvdtrain train\n"


def placements(nodes: int) -> tuple[RankPlacement, ...]:
    return tuple(
        RankPlacement(
            rank=rank,
            host=f"c{rank:04d}",
            compute="0-63",
            communication="64-67",
            data="133-135",
        )
        for rank in range(nodes)
    )


def epochs(seconds: float, count: int, plan: RunPlan) -> tuple[EpochResult, ...]:
    return tuple(
        EpochResult(
            epoch=number,
            steps=plan.epoch_end(number) - plan.epoch_end(number - 1),
            seconds=seconds,
            training_loss=7.0 - number,
            learning_rate=0.1,
            evaluation=EvaluationResult(count=50_000, top1=0.2 * number, top5=0.9, loss=1.0),
            evaluation_seconds=4.0,
        )
        for number in range(1, count + 1)
    )


def metrics(plan: RunPlan, steps: int) -> list[MetricsLine]:
    return [
        MetricsLine(
            step=step,
            epoch=1 + plan.epochs_ended(step),
            seconds=20 + 0.5 * step,
            learning_rate=0.1,
            loss=7 / step,
            step_seconds=0.5,
            allreduce_seconds=0.05,
        )
        for step in range(1, steps + 1)
    ]


def write_results(results: Path) -> None:
    """The runs, and a record that cannot be read."""
    for nodes, seconds in ((256, 85.5), (512, 47.9), (1024, 25.1)):
        plan = make_test_plan(nodes=nodes)
        record = make_record(
            f"knl-{nodes}",
            plan=plan,
            epochs=epochs(seconds, 3, plan),
            images_per_second=1_281_167 / seconds,
            placement=placements(nodes),
            git_commit="0123abcd",
        )
        folder = write_record(results, record).parent
        write_metrics(folder, metrics(plan, 300))
        (folder / "job.sh").write_text(SCRIPT)
    plan = make_test_plan(source="synthetic", system="local", nodes=1)
    write_record(results, make_record("dry-run", plan=plan, kind="synthetic", epochs=()))
    failed = make_record("failed", status="failed", failure="rank 17 ended", epochs=())
    write_record(results, failed)
    plan = make_test_plan(nodes=768, node_batch=16)
    write_metrics(write_plan(results, "running", plan), metrics(plan, 20))
    write_record(results, make_record("broken")).write_text("{")


def page_of(results: Path) -> Page:
    found = list(read_results(results))
    return make_page(
        Source(
            results=results,
            runs=[one for one in found if not isinstance(one, Malformed)],
            ensembles=[],
            skipped=[one for one in found if isinstance(one, Malformed)],
            made="2026-01-31T12:00:00Z",
            version="0.1.0",
        )
    )
