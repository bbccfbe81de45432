"""The same job again: what to ask for so that a run goes on, from the plan that it has left."""

from __future__ import annotations

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.plan.job.request import SYNTHETIC, JobRequest
from hvdtrain.plan.method.recipe import Recipe, load_recipe, recipe_names, stretch_recipe
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.plan.method.train_spec import model_fields


def request_from_plan(plan: RunPlan) -> JobRequest:
    """What to ask for to get a run that was not submitted by hvdtrain.

    A plan keeps what the ranks do. The folder of the data, which were copied to the nodes, and
    what the scheduler was asked for are not in it.
    """
    synthetic = plan.source.kind == "synthetic"
    recipe, epochs = _name_recipe(plan.recipe)
    request = JobRequest(
        system=plan.system,
        nodes=plan.nodes,
        ranks_per_node=plan.ranks_per_node,
        node_batch=plan.rank_batch * plan.ranks_per_node,
        accumulate=plan.accumulate,
        recipe=recipe,
        epochs=epochs,
        steps=plan.stop_after_steps,
        evaluate_epochs=plan.evaluate_epochs,
        seed=plan.seed,
        data=SYNTHETIC if synthetic else None,
    )
    if synthetic:
        images = plan.dataset.train_images
        request = msgspec.structs.replace(request, images_per_epoch=images)
    return msgspec.structs.replace(request, **model_fields(plan.model))


def on_the_data_of(plan: RunPlan, before: RunPlan) -> RunPlan:
    """A plan that was made without a look at the data, for the data that the run has."""
    same_batch = plan.global_batch == before.global_batch
    return msgspec.structs.replace(
        plan,
        source=before.source,
        dataset=before.dataset,
        steps_per_epoch=before.steps_per_epoch if same_batch else plan.steps_per_epoch,
        model=msgspec.structs.replace(plan.model, classes=before.model.classes),
    )


def _name_recipe(recipe: Recipe) -> tuple[str, float | None]:
    """A shipped recipe by its name, and the epochs that it was stretched to.

    Raises:
        InputError: It came from a file, or this version ships another one.
    """
    if recipe.name in recipe_names():
        shipped = load_recipe(recipe.name)
        if recipe == shipped:
            return recipe.name, None
        epochs = recipe.epochs
        if epochs is not None and recipe == stretch_recipe(shipped, epochs):
            return recipe.name, epochs
    raise InputError(
        "--recipe",
        None,
        f"the file that the recipe {recipe.name} of the run came from",
        "--recipe FILE.toml",
    )
