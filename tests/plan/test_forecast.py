"""The forecast against the tables that it was fitted to."""

from __future__ import annotations

import pytest

from hvdtrain.plan.datasource import DatasetInfo, DataSource
from hvdtrain.plan.forecast import Forecast, make_forecast
from hvdtrain.plan.modelspec import ModelSpec
from hvdtrain.plan.recipe import load_recipe
from hvdtrain.plan.runplan import make_plan
from hvdtrain.plan.system import StepTime, load_system

# Source: Table VI, where throughput times seconds is 1.28 million in every row.
PAPERS_EPOCH = 1_280_000


def step_time_of(system: str) -> StepTime:
    found = load_system(system).step_time
    assert found is not None
    return found


def forecast_of(system: str, nodes: int, node_batch: int, recipe: str = "linear-90") -> Forecast:
    plan = make_plan(
        system=system,
        nodes=nodes,
        ranks_per_node=1,
        rank_batch=node_batch,
        recipe=load_recipe(recipe),
        model=ModelSpec(),
        source=DataSource(),
        dataset=DatasetInfo(train_images=PAPERS_EPOCH, validation_images=50_000, classes=1000),
    )
    return make_forecast(plan, step_time_of(system))


# Source: Table V.
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
# Source: Table VI; its CPUs are sockets.
TABLE_VI = [(32, 256, 84.3), (24, 400, 62.5), (16, 400, 67.2), (16, 512, 52.5)]


@pytest.mark.parametrize(("node_batch", "nodes", "seconds"), TABLE_V)
def test_an_epoch_on_stampede2(node_batch: int, nodes: int, seconds: float) -> None:
    found = forecast_of("stampede2-knl", nodes, node_batch).epoch_seconds
    assert found == pytest.approx(seconds, rel=0.0665)


@pytest.mark.parametrize(("node_batch", "nodes", "seconds"), TABLE_VI)
def test_an_epoch_on_marenostrum4(node_batch: int, nodes: int, seconds: float) -> None:
    found = forecast_of("marenostrum4", nodes, node_batch).epoch_seconds
    assert found == pytest.approx(seconds, rel=0.045)


def test_the_scaling_that_the_text_gives() -> None:
    # Source: Section V-A1, "above 97 %" from 1 to 256 and "above 81 %" from 1 to 1536 nodes.
    knl = step_time_of("stampede2-knl")
    assert knl.step_seconds(32, 1) / knl.step_seconds(32, 256) > 0.97
    assert knl.step_seconds(32, 1) / knl.step_seconds(32, 1536) > 0.81
    # Source: Section V-A2, "around 90 %" from 1 to 512 sockets.
    skylake = step_time_of("marenostrum4")
    efficiency = skylake.step_seconds(32, 1) / skylake.step_seconds(32, 256)
    assert efficiency == pytest.approx(0.9, abs=0.03)


def test_the_49152_run_takes_28_minutes() -> None:
    # Source: Table IX.
    forecast = forecast_of("stampede2-knl", 1536, 32, "large-batch-100")
    assert forecast.minutes_to_train == pytest.approx(28, abs=0.5)
    assert forecast.node_hours == pytest.approx(1536 * 28 / 60, rel=0.02)
    assert forecast.walltime_min > forecast.minutes_to_train * 1.25
