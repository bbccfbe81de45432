"""From the options and the data that is there to the plan that all ranks follow.

Rank 0 makes the plan and gives it to the others.
"""

from __future__ import annotations

import datetime

from hvdtrain.plan.datasource import DatasetInfo, DataSource
from hvdtrain.plan.decode import convert
from hvdtrain.plan.modelspec import ModelSpec
from hvdtrain.plan.recipe import load_recipe
from hvdtrain.plan.runplan import RunPlan, make_plan
from hvdtrain.train.data.discover import discover
from hvdtrain.train.options import TrainOptions
from hvdtrain.train.world import World

DEFAULT_IMAGE_SIZE = {"resnet50": 224, "small": 32}
DEFAULT_CLASSES = {"resnet50": 1000, "small": 10}
SYNTHETIC_VALIDATION_STEPS = 2
"""Made-up images teach nothing, so their evaluation only has to exercise the code."""


def make_run_plan(options: TrainOptions, world: World) -> RunPlan:
    """The plan of the run, after a look at the data.

    Raises:
        InputError: The recipe, the data, the model or the batch is not possible.
    """
    recipe = load_recipe(options.recipe)
    source, dataset = _look_at_data(options, world.ranks)
    nodes = options.nodes or world.nodes
    model = convert(
        {
            "name": options.model,
            "version": options.model_version,
            "image_size": options.image_size or DEFAULT_IMAGE_SIZE[options.model],
            "classes": options.classes or dataset.classes,
            "precision": options.precision,
        },
        ModelSpec,
        "model",
    )
    return make_plan(
        system=options.system,
        nodes=nodes,
        ranks_per_node=options.ranks_per_node or max(1, world.ranks // nodes),
        rank_batch=options.rank_batch,
        accumulate=options.accumulate,
        recipe=recipe,
        model=model,
        source=source,
        dataset=dataset,
        epochs=options.epochs,
        stop_after_steps=options.steps,
        seed=options.seed,
    )


def make_run_id(plan: RunPlan, started: datetime.datetime) -> str:
    """A folder name that sorts by time: `20260314-150926-resnet50-4n-b128`."""
    return f"{started:%Y%m%d-%H%M%S}-{plan.model.name}-{plan.nodes}n-b{plan.global_batch}"


def _look_at_data(options: TrainOptions, ranks: int) -> tuple[DataSource, DatasetInfo]:
    if options.data is not None:
        return discover(options.data, options.classes)
    dataset = DatasetInfo(
        train_images=options.images_per_epoch,
        validation_images=SYNTHETIC_VALIDATION_STEPS * options.rank_batch * ranks,
        classes=options.classes or DEFAULT_CLASSES[options.model],
    )
    return DataSource(), dataset
