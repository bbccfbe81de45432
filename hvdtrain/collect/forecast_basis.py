"""What a forecast rests on: the paper's tables, a system file, or the user's own runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.fit import (
    Assumptions,
    Point,
    fit_step_time,
    leave_one_out,
    own_assumptions,
    with_error,
)
from hvdtrain.plan.forecast.step_time import StepTime
from hvdtrain.plan.machine.system import System, load_system, system_files
from hvdtrain.plan.method.model import ModelSpec


@dataclass(frozen=True)
class Basis:
    """What a forecast rests on.

    Attributes:
        step_time: Constants of the model of a step, in seconds and bytes.
        points: The measured steps it was fitted to; empty when it was read from the system file.
        assumptions: What the fit took from the system file and did not fit.
        notes: What the user should know of it.
    """

    step_time: StepTime
    points: tuple[Point, ...]
    assumptions: Assumptions
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> ModelSpec:
        """What the steps trained."""
        return self.step_time.model


def read_stored(system: System, folder: Path) -> Basis:
    """The step time of the system file.

    Raises:
        InputError: It has none.
    """
    if system.step_time is None:
        known = [
            name for name in system_files(folder) if load_system(name, folder).step_time is not None
        ]
        raise InputError(
            "--system",
            system.name,
            f"a system with a step time: {', '.join(sorted(known))}",
            "--fit RESULTS fits one to your own runs on it",
        )
    return Basis(
        step_time=system.step_time,
        points=(),
        assumptions=Assumptions(),
        notes=(system.step_time.source,),
    )


def fit_paper(system: str) -> Basis:
    """The step time of the paper's runs on a system.

    Raises:
        InputError: The paper has none there.
    """
    from hvdtrain.collect.measured_steps import TABLE_OF, paper_assumptions, paper_points

    points, assumptions = paper_points(system), paper_assumptions(system)
    step_time = fit_step_time(points, assumptions, f"Table {TABLE_OF[system]}")
    return _with_error(step_time, points, assumptions)


def fit_own(system: str, results: Path, model: ModelSpec | None = None) -> Basis:
    """The step time that the runs in a folder have.

    Args:
        system: Name of the system whose runs count.
        results: Folder of all runs.
        model: Only its runs count; None: the model that most runs on the system trained.

    Raises:
        InputError: There are too few.
    """
    from hvdtrain.collect.measured_steps import own_steps
    from hvdtrain.runs.record import Record
    from hvdtrain.runs.store import Malformed, read_results

    found = list(read_results(results))
    steps = own_steps((run for run in found if isinstance(run, Record)), system, model)
    notes = []
    unreadable = sum(isinstance(run, Malformed) for run in found)
    if unreadable:
        notes.append(f"{unreadable} runs in {results} cannot be read: see hvdtrain collect")
    if steps.other_models:
        notes.append(
            f"{steps.other_models} runs with another model than {steps.model.label} are left out"
        )
    source = f"fitted to {steps.runs} runs, {steps.synthetic} of them on synthetic images"
    notes.append(source)
    assumptions = own_assumptions(steps.points)
    step_time = fit_step_time(steps.points, assumptions, source, steps.model)
    return _with_error(step_time, steps.points, assumptions, tuple(notes))


def _with_error(
    step_time: StepTime,
    points: tuple[Point, ...],
    assumptions: Assumptions,
    notes: tuple[str, ...] = (),
) -> Basis:
    step_time = with_error(step_time, leave_one_out(points, assumptions))
    return Basis(step_time=step_time, points=points, assumptions=assumptions, notes=notes)
