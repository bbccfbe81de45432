"""The run that a job is asked for: what its ranks will do."""

from __future__ import annotations

from collections.abc import Callable

from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import System
from hvdtrain.plan.method.dataset import (
    IMAGENET_TRAIN_IMAGES,
    IMAGENET_VALIDATION_IMAGES,
    DataKind,
    DatasetInfo,
    DataSource,
)
from hvdtrain.plan.method.recipe import Recipe, default_recipe, load_recipe
from hvdtrain.plan.method.run_plan import RunPlan, make_plan, split_node_batch


def ranks_on_a_node(request: JobRequest, system: System) -> int:
    """Ranks of each node: as asked, or the system's number."""
    asked = request.ranks_per_node
    return system.cores.ranks_per_node if asked is None else asked


def recipe_name(request: JobRequest, global_batch: int) -> str:
    """What `hvdtrain train` shall call the recipe."""
    return request.recipe or default_recipe(global_batch)


def plan_run(
    request: JobRequest,
    system: System,
    nodes: int,
    load: Callable[[str], Recipe] = load_recipe,
) -> RunPlan:
    """What the ranks of a request will do on so many nodes.

    Raises:
        InputError: The batch, the recipe or the model is not possible.
    """
    ranks_per_node = ranks_on_a_node(request, system)
    # The folder is on the cluster: the ranks will see what it holds.
    kind: DataKind = "synthetic" if request.is_synthetic else "tfrecords"
    images = request.images_per_epoch if request.is_synthetic else IMAGENET_TRAIN_IMAGES
    return make_plan(
        request,
        system=system.name,
        nodes=nodes,
        ranks_per_node=ranks_per_node,
        rank_batch=split_node_batch(request.node_batch, ranks_per_node),
        recipe=load(recipe_name(request, nodes * request.node_batch * request.accumulate)),
        source=DataSource(kind=kind, path="" if request.is_synthetic else request.data or ""),
        dataset=DatasetInfo(
            train_images=images,
            validation_images=IMAGENET_VALIDATION_IMAGES,
            classes=request.unseen_classes,
        ),
    )
