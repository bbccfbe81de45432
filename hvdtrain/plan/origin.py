"""Where a run begins that does not begin with new weights: at a snapshot of another run."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hvdtrain.plan.evaluation import EvaluationResult


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A snapshot of another run.

    Attributes:
        run_id: The run that kept it.
        snapshot: Its number among the snapshots of that run, from 1. Source: Table XI.
        step: Updates that had been made.
        evaluation: Of the snapshot itself.
    """

    run_id: str
    snapshot: Annotated[int, Meta(ge=1)]
    step: Annotated[int, Meta(ge=1)]
    evaluation: EvaluationResult
