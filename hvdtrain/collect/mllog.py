"""A run as an MLPerf log: the `:::MLLOG` lines that its compliance checker reads.

The last rules with ResNet are those of MLPerf Training 4.0. The log is one of the open division:
the closed one asks for an end learning rate of 0.0001, which no schedule of the paper has. What
the rules ask for and a record does not hold stands in the log as not known, never as a guess.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from hvdtrain.collect.paper.match import is_papers_model
from hvdtrain.collect.runs import is_imagenet
from hvdtrain.errors import InputError
from hvdtrain.runs.record import EpochResult, Record

RULESET = "4.0.0"
TARGET_TOP1 = 0.759
"""What MLPerf calls success. Source: the rules of MLPerf Training 4.0, closed division."""

# Beyond it, milliseconds are no longer what a log can hold.
_LONGEST_SECONDS = 1000 * 365 * 86_400

NOT_KNOWN = "not known: the record does not hold it"

MISSING = (
    "submission_org is not in a record; the division is open, as the paper's schedules do not end "
    "at the rate that the closed one asks for; times are summed from the lengths of the epochs"
)
"""What whoever submits the log has to know."""

Value = str | int | float | bool | None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the log, its fields in the order of MLPerf's own.

    Attributes:
        namespace: Always empty.
        time_ms: Milliseconds since 1970, UTC.
        event_type: `INTERVAL_START`, `INTERVAL_END` or `POINT_IN_TIME`.
        key: What happened.
        value: Of a setting or a result, in the unit that MLPerf prescribes for its key.
        metadata: Which epoch, and what has to be said of the value.
    """

    namespace: str = ""
    time_ms: int
    event_type: str = "POINT_IN_TIME"
    key: str
    value: Value = None
    metadata: dict[str, Value] = {}


def format_mllog(record: Record) -> str:
    """The log of a run.

    Raises:
        InputError: The run is none that MLPerf's ResNet benchmark speaks of.
    """
    _check(record)
    lines = (json.dumps(msgspec.to_builtins(event)) for event in _events(record))
    return "".join(f":::MLLOG {line}\n" for line in lines)


def _check(record: Record) -> None:
    faults = {
        f"a run that completed, and this one is {record.status}": record.status != "completed",
        f"a run on real images, and this one is {record.kind}": record.kind != "measured",
        "ResNet-50 v1 at 224 x 224 pixels in fp32, and this is another network": (
            not is_papers_model(record.plan.model)
        ),
        "ImageNet-1K, and this is another data set": not is_imagenet(record.plan),
        "a run from new weights, and this one began at a snapshot": record.plan.origin is not None,
        "a run of less than a thousand years": not _wall_seconds(record) < _LONGEST_SECONDS,
        "a run with an evaluation": not any(epoch.evaluation for epoch in record.epochs),
    }
    for allowed, wrong in faults.items():
        if wrong:
            raise InputError("--mllog", record.run_id, allowed)


def _start_ms(record: Record) -> int:
    try:
        started = datetime.fromisoformat(record.started)
        return round(started.replace(tzinfo=started.tzinfo or UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        allowed = f"a record with a start in ISO 8601, and this one has {record.started!r}"
        raise InputError("--mllog", record.run_id, allowed) from None


def _events(record: Record) -> Iterator[Event]:
    start = _start_ms(record)
    yield from _submission(record, start)
    yield Event(time_ms=start, event_type="INTERVAL_START", key="init_start")
    yield from _settings(record, start)
    # What is not an epoch is start-up, and the little that follows the last epoch.
    run_start = start + _ms(record.seconds - sum(map(_seconds_of, record.epochs)))
    yield Event(time_ms=run_start, event_type="INTERVAL_END", key="init_stop")
    yield Event(time_ms=run_start, event_type="INTERVAL_START", key="run_start")
    now = run_start
    for epoch in record.epochs:
        yield from _epoch(epoch, now)
        now += _ms(_seconds_of(epoch))
    reached = any(e.evaluation and e.evaluation.top1 >= TARGET_TOP1 for e in record.epochs)
    status: dict[str, Value] = {
        "status": "success" if reached else "aborted",
        "note": "times are summed from the lengths of the epochs",
    }
    yield Event(time_ms=now, event_type="INTERVAL_END", key="run_stop", metadata=status)


def _submission(record: Record, now: int) -> Iterator[Event]:
    values: dict[str, Value] = {
        "submission_benchmark": "resnet",
        "submission_division": "open",
        "submission_org": NOT_KNOWN,
        "submission_platform": f"{record.plan.system}, {record.plan.nodes} nodes",
        "submission_status": "research",
    }
    for key, value in values.items():
        yield Event(time_ms=now, key=key, value=value)
    note: dict[str, Value] = {"note": "hvdtrain does not clear the file cache before a run"}
    yield Event(time_ms=now, key="cache_clear", value=False, metadata=note)


def _settings(record: Record, now: int) -> Iterator[Event]:
    plan = record.plan
    values: dict[str, Value] = {
        "seed": plan.seed,
        "global_batch_size": plan.global_batch,
        "gradient_accumulation_steps": plan.accumulate,
        "model_bn_span": plan.rank_batch,
        "train_samples": plan.dataset.train_images,
        "eval_samples": plan.dataset.validation_images,
        "opt_name": plan.recipe.optimizer.__struct_config__.tag,
        "opt_base_learning_rate": plan.schedule.peak_lr,
    }
    for key, value in values.items():
        yield Event(time_ms=now, key=key, value=value)


def _epoch(epoch: EpochResult, start: int) -> Iterator[Event]:
    which: dict[str, Value] = {"epoch_num": epoch.epoch}
    trained = start + _ms(epoch.seconds)
    yield Event(time_ms=start, event_type="INTERVAL_START", key="epoch_start", metadata=which)
    yield Event(time_ms=trained, event_type="INTERVAL_END", key="epoch_stop", metadata=which)
    if epoch.evaluation is None:
        return
    evaluated = start + _ms(_seconds_of(epoch))
    top1 = epoch.evaluation.top1
    yield Event(time_ms=trained, event_type="INTERVAL_START", key="eval_start", metadata=which)
    yield Event(time_ms=evaluated, key="eval_accuracy", value=top1, metadata=which)
    yield Event(time_ms=evaluated, event_type="INTERVAL_END", key="eval_stop", metadata=which)


def _wall_seconds(record: Record) -> float:
    return max(record.seconds, sum(map(_seconds_of, record.epochs)))


def _seconds_of(epoch: EpochResult) -> float:
    return epoch.seconds + epoch.evaluation_seconds


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
