"""The network of a run on one rank, with all that changes or judges its weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import tensorflow as tf

from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.record import EvaluationResult
from hvdtrain.train.evaluate import Evaluator
from hvdtrain.train.models.batchnorm import average_batchnorm, moving_statistics
from hvdtrain.train.models.network import make_model
from hvdtrain.train.optim.optimizer import Optimizer, make_optimizer
from hvdtrain.train.optim.weight_average import WeightAverage
from hvdtrain.train.reduction.reduction import make_reduction
from hvdtrain.train.step import TrainStep, make_train_step


@dataclass(frozen=True)
class Trainer:
    """Trains and evaluates one network. From `make_trainer`.

    Attributes:
        model: From images to logits.
        optimizer: What changes its weights.
        average: Their running mean; None: the recipe wants none.
        step: The compiled update of this rank.
        evaluator: Judges the weights.
        ranks: How many there are.
    """

    model: tf.keras.Model
    optimizer: Optimizer
    average: WeightAverage | None
    step: TrainStep
    evaluator: Evaluator
    ranks: int

    @property
    def replicated(self) -> list[tf.Variable]:
        """What a checkpoint holds once: the same on every rank, but for the moving statistics."""
        slots = self.average.slots if self.average else []
        return [*self.model.variables, *self.optimizer.slots, *slots]

    @property
    def per_rank(self) -> list[tf.Variable]:
        """What a checkpoint holds for every rank: the moving statistics, and their mean."""
        statistics = moving_statistics(self.model)
        return [*statistics, *(self.average.means_of(statistics) if self.average else [])]

    def final_weights(self) -> contextlib.AbstractContextManager[None]:
        """The model holds what is evaluated and saved inside this context: the mean if any."""
        return self.average.in_place() if self.average else contextlib.nullcontext()

    def evaluate(self, batches: Iterable[tuple[tf.Tensor, tf.Tensor]]) -> EvaluationResult:
        """Evaluate the final weights on all ranks' examples. Collective.

        Args:
            batches: This rank's share, as in `Evaluator.evaluate`.
        """
        average_batchnorm(self.model, self.ranks)
        with self.final_weights():
            if self.average is not None:
                average_batchnorm(self.model, self.ranks)
            return self.evaluator.evaluate(batches)


def make_trainer(plan: RunPlan) -> Trainer:
    """Build the network of a plan with its starting weights, and compile its update."""
    recipe = plan.recipe
    model = make_model(plan.model, plan.seed)
    optimizer = make_optimizer(recipe.optimizer, model.trainable_variables)
    average = WeightAverage(model.variables, recipe.average_decay) if recipe.average_decay else None
    step = make_train_step(
        model,
        optimizer,
        make_reduction(plan),
        rank_batch=plan.rank_batch,
        ranks=plan.ranks,
        accumulate=plan.accumulate,
        label_smoothing=recipe.label_smoothing,
        average=average,
    )
    return Trainer(model, optimizer, average, step, Evaluator(model, plan.ranks), plan.ranks)
