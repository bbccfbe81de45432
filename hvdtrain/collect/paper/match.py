"""Which rows of the paper a run repeats: pure functions of a run and a row.

A run repeats the *job* of a row on the same system, with as many nodes and the same local batch:
then times and throughput can be compared. It repeats the *training* of a row with the same
recipe over as many epochs at the same global batch: then accuracies can be compared, whatever
the machine.
"""

from __future__ import annotations

from functools import cache

from hvdtrain.collect.paper.row import PaperRow
from hvdtrain.collect.paper.tables import PaperTable, TableNumber, load_paper_table
from hvdtrain.collect.runs import Run
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.recipe import load_recipe

_TIMES: tuple[TableNumber, ...] = ("V", "VI")
_MODEL = ModelSpec(name="resnet50", version="v1", image_size=224, classes=1000, precision="fp32")
_EPOCHS_TOLERANCE = 0.5


def is_papers_model(model: ModelSpec) -> bool:
    """Whether the network is the paper's: ResNet-50 v1, 224 x 224 pixels, 1000 classes, fp32.

    Another one computes or sends another amount in each step.
    """
    return model == _MODEL


def repeats_job(run: Run, table: PaperTable, row: PaperRow) -> bool:
    """Whether the run did the steps of the row: times can be compared."""
    return (
        run.system == (row.system or table.system)
        and run.nodes == table.nodes_of(row)
        and run.node_batch == table.node_batch_of(row)
        and is_papers_model(run.model)
    )


def repeats_training(run: Run, row: PaperRow) -> bool:
    """Whether the run trained as the row did, from the first epoch to the last."""
    if row.recipe is None or row.global_batch is None:
        return False
    return (
        run.whole
        and run.imagenet
        and run.recipe == row.recipe
        and run.global_batch == row.global_batch
        and is_papers_model(run.model)
        and run.epochs is not None
        and abs(run.epochs - _epochs_of(row)) < _EPOCHS_TOLERANCE
    )


def belongs(run: Run, table: PaperTable, row: PaperRow) -> bool:
    """Whether the run stands in the row of a table.

    In a table of times it repeats the job. In a table of trainings it repeats the training, on
    the table's own system where the table's title names one.
    """
    if row.recipe is None:
        return repeats_job(run, table, row)
    if table.system is not None:
        return repeats_job(run, table, row) and repeats_training(run, row)
    return repeats_training(run, row)


def find_paper_row(
    system: str, node_batch: int, nodes: int, model: ModelSpec
) -> tuple[PaperTable, PaperRow] | None:
    """The row of Table V or VI with this system, node batch and number of nodes, if there is one.

    Only the paper's network can be compared with it.
    """
    if not is_papers_model(model):
        return None
    return _rows_by_job().get((system, node_batch, nodes))


@cache
def _rows_by_job() -> dict[tuple[str | None, int, int], tuple[PaperTable, PaperRow]]:
    tables = [load_paper_table(number) for number in _TIMES]
    return {
        (table.system, table.node_batch_of(row), table.nodes_of(row)): (table, row)
        for table in tables
        for row in table.row
    }


def _epochs_of(row: PaperRow) -> float:
    """Epochs as printed; where the table prints none, those of the recipe."""
    if row.epochs is not None:
        return row.epochs
    assert row.recipe is not None
    return _recipe_epochs(row.recipe)


@cache
def _recipe_epochs(name: str) -> float:
    epochs = load_recipe(name).epochs
    assert epochs is not None
    return epochs
