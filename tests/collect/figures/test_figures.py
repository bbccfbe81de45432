"""What the figures say: the paper's points where the paper has them, and the runs' over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvdtrain.collect.figures.accuracy import MOST_RUNS, make_accuracy_figure, read_accuracies
from hvdtrain.collect.figures.curves import (
    make_loss_figure,
    make_rank_figure,
    make_throughput_figure,
    make_timeline,
)
from hvdtrain.collect.figures.model import Figure, Point
from hvdtrain.collect.figures.scaling import make_scaling_figure
from hvdtrain.collect.figures.schedule import make_paper_schedule_figure
from hvdtrain.collect.runs import make_run
from hvdtrain.collect.tables.runs_table import make_rows
from hvdtrain.plan.method.recipe import load_recipe
from hvdtrain.plan.method.snapshot import EvaluationResult
from hvdtrain.runs.metrics import Metrics, MetricsLine
from hvdtrain.runs.record import EpochResult
from hvdtrain.runs.store import Incomplete
from tests.collect.records import make_record, make_test_plan, write_metrics, write_plan


def labelled(figure: Figure, panel: int = 0) -> dict[str, tuple[Point, ...]]:
    return {series.label: series.points for series in figure.panels[panel].series if series.label}


def evaluated(epoch: int, top1: float) -> EpochResult:
    result = EvaluationResult(count=50_000, top1=top1, top5=0.9, loss=1.0)
    return EpochResult(
        epoch=epoch,
        steps=156,
        seconds=85.0,
        training_loss=1.0,
        learning_rate=0.1,
        evaluation=result,
    )


def test_scaling_has_the_papers_efficiencies() -> None:
    """Source: Table V, 85 / (4 x 24.5) = 86.7 % on 1024 nodes; Section V-A1, 97 % on 256."""
    points = labelled(make_scaling_figure([]))
    table = dict(points["paper, Fig. 1: Table V, local batch 32"])
    assert table[256] == 256
    assert table[1024] / 1024 == pytest.approx(0.867, abs=5e-4)
    assert table[1536] / 1536 == pytest.approx(85 / (6 * 16.8), abs=5e-4)
    text = dict(points["paper, Fig. 1: text, local batch 32, from 1 node"])
    assert text[256] / 256 == pytest.approx(0.97)
    skylake = dict(points["paper, Fig. 2: text, from 1 CPU"])
    assert skylake[256] / 256 == pytest.approx(0.90), "512 CPUs are 256 nodes"


def test_scaling_has_the_runs_on_the_same_ideal_line() -> None:
    speeds = {256: 15_000.0, 1024: 52_000.0}
    records = [
        make_record(f"n{nodes}", plan=make_test_plan(nodes=nodes), images_per_second=speed)
        for nodes, speed in speeds.items()
    ]
    figure = make_scaling_figure(make_rows(map(make_run, records)))
    (own,) = (points for name, points in labelled(figure).items() if name.startswith("stampede2"))
    assert dict(own) == pytest.approx({256: 256, 1024: 1024 * 52 / 60})
    assert "86.7 % on 1024 nodes" in figure.description


@pytest.mark.parametrize(
    ("name", "batch", "number"),
    [("large-batch-107", 65_536, 3), ("collapsed-ensemble-120", 4_096, 4)],
)
def test_the_schedule_passes_through_the_papers_points(name: str, batch: int, number: int) -> None:
    figure = make_paper_schedule_figure(load_recipe(name), batch)
    points = labelled(figure)[f"paper, text on Fig. {number}"]
    drawn = [point for s in figure.panels[0].series if s.colour is not None for point in s.points]
    top = max(y for _, y in drawn)
    for x, y in points:
        if (number, y) == (3, 6.4):
            assert top == pytest.approx(6.4), "a warm-up of 7 to 10 epochs: the text has no epoch"
            continue
        nearest = min(drawn, key=lambda point: abs(point[0] - x))
        assert nearest[1] == pytest.approx(y, abs=0.02 * top), (x, y)


def test_another_schedule_has_no_points_of_the_paper() -> None:
    figure = make_paper_schedule_figure(load_recipe("linear-90"), 8192)
    assert not [series for series in figure.panels[0].series if "paper" in series.label]


def test_accuracy_has_the_most_accurate_runs_and_the_papers_values() -> None:
    records = [
        make_record(f"run-{i}", epochs=(evaluated(1, 0.1), evaluated(2, 0.5 + i / 100)))
        for i in range(MOST_RUNS + 1)
    ]
    points = labelled(make_accuracy_figure(read_accuracies(Path(), records)))
    assert dict(points[f"run-{MOST_RUNS} (measured)"]) == pytest.approx({1: 10.0, 2: 58.0})
    assert "run-0 (measured)" not in points
    assert (90.0, 75.81) in points["paper, ends of the runs in its tables"], "Source: Table II"
    assert (120.0, 77.0) in points["paper, Fig. 4: targets"], "Source: Section IV-D"


def test_accuracy_of_a_run_that_goes_on_is_that_of_its_metrics(tmp_path: Path) -> None:
    plan = make_test_plan()
    folder = write_plan(tmp_path, "live", plan)
    line = MetricsLine(
        step=plan.epoch_end(1), epoch=1, seconds=90, learning_rate=1, top1=0.25, count=50_000
    )
    write_metrics(folder, [line])
    found = read_accuracies(tmp_path, [Incomplete(run_id="live", plan=plan)])
    at = plan.epoch_end(1) / plan.steps_per_epoch
    assert at == pytest.approx(1, abs=0.5 / plan.steps_per_epoch)
    assert [(run.label, run.points) for run in found] == [("incomplete", ((at, 25.0),))]


def step(number: int, seconds: float, took: float = 1.0) -> MetricsLine:
    return MetricsLine(
        step=number,
        epoch=1,
        seconds=seconds,
        learning_rate=0.1,
        loss=7.0 - number,
        step_seconds=took,
        allreduce_seconds=0.25 * took,
    )


EVALUATION = MetricsLine(
    step=2, epoch=1, seconds=9.0, learning_rate=0.1, top1=0.5, evaluation_loss=4.5, count=10
)


def test_the_timeline_says_what_was_between_the_steps() -> None:
    """Two steps, an evaluation of 2 s, a pause of 3 s, a step; the start-up is no pause."""
    metrics = Metrics(steps=(step(1, 6.0), step(2, 7.0), step(3, 13.0)), evaluations=(EVALUATION,))
    figure = make_timeline(metrics, "t", 100)
    assert figure.strips[0].spans == ((7.0, 2.0),)
    assert figure.strips[1].spans == ((9.0, 3.0),)
    assert [series.points for panel in figure.panels for series in panel.series] == [
        ((6.0, 1.0), (7.0, 1.0), (13.0, 1.0)),
        ((6.0, 25.0), (7.0, 25.0), (13.0, 25.0)),
    ]


def test_loss_and_throughput_are_those_of_the_metrics() -> None:
    plan = make_test_plan()
    metrics = Metrics(steps=(step(1, 1.0), step(2, 3.0, took=2.0)), evaluations=(EVALUATION,))
    losses = labelled(make_loss_figure(metrics, plan, 100))
    assert losses["training, each update"] == ((1, 6.0), (2, 5.0))
    assert losses["evaluation"] == ((2, 4.5),)
    (speeds,) = labelled(make_throughput_figure(metrics, plan, 100)).values()
    assert speeds == ((1, plan.global_batch), (2, plan.global_batch / 2))


def test_a_run_of_whole_epochs_is_drawn_over_its_epochs() -> None:
    plan = make_test_plan()
    metrics = Metrics(steps=(step(plan.epoch_end(1), 90.0), step(plan.epoch_end(2), 180)))
    figure = make_throughput_figure(metrics, plan, 100)
    assert figure.x_label == "epoch"
    ends = [x for x, _ in figure.panels[0].series[0].points]
    assert ends == pytest.approx([1, 2], abs=0.5 / plan.steps_per_epoch)


def test_every_rank_has_its_own_seconds() -> None:
    figure = make_rank_figure((0.5, 0.75), 100)
    assert figure.panels[0].series[0].points == ((0, 0.5), (1, 0.75))
    assert "from 0.5 to 0.75 s" in figure.description
    # Nobody waits for a single rank.
    assert make_rank_figure((0.5,), 100).is_empty


def test_a_run_without_metrics_has_empty_figures() -> None:
    plan = make_test_plan()
    assert make_loss_figure(Metrics(), plan, 100).is_empty
    assert make_throughput_figure(Metrics(), plan, 100).is_empty
    assert make_timeline(Metrics(), "t", 100).is_empty
