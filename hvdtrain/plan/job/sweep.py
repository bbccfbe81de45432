"""A sweep: many jobs from one file. Lists of options, crossed or zipped, become one job each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from hvdtrain.errors import InputError
from hvdtrain.files.decode import FieldError, convert, load_toml
from hvdtrain.files.fields import LONGEST_JOB_NAME, Line, Name
from hvdtrain.files.paths import expand_path
from hvdtrain.plan.job.request import JobRequest

MOST_ROWS = 999
"""A row's number has three digits, so that the names of its runs stay what they are."""

# Each run of a sweep is named after the sweep, and all are in one folder.
_NOT_HERE = {"options": ("job_name",), "vary": ("job_name", "results")}


class Sweep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a sweep's file says.

    Attributes:
        name: The beginning of the name of every run.
        combine: `cross`: every value with every other one, the last list varying fastest;
            `zip`: the first values of all lists, then the second ones, and so on.
        jobs: Job files, relative to this file: one more list.
        options: Fields of a job that hold for every row; they overrule a job file.
        vary: Fields of a job, each with the list of its values.
    """

    name: Name
    combine: Literal["cross", "zip"] = "cross"
    jobs: tuple[Line, ...] = ()
    options: dict[str, Any] = {}
    vary: dict[str, Annotated[tuple[Any, ...], Meta(min_length=1)]] = {}

    def __post_init__(self) -> None:
        if len(self.name) > LONGEST_JOB_NAME - len("-999"):
            raise FieldError("name", self.name, f"at most {LONGEST_JOB_NAME - len('-999')} letters")


class SweepRow(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a sweep.

    Attributes:
        run_id: The run's name, from the sweep's name and the row's number.
        label: What is special about it: `nodes=256 recipe=linear-90`.
        request: What `hvdtrain submit` would be asked for.
    """

    run_id: str
    label: str
    request: JobRequest


class _Value(msgspec.Struct, frozen=True):
    """A value of one list: the fields of a job that it sets, and its name in the label."""

    label: str
    fields: dict[str, Any]
    job: JobRequest | None = None


def load_sweep(path: Path) -> tuple[Sweep, tuple[SweepRow, ...]]:
    """A sweep's file, and its rows.

    Raises:
        InputError: It does not fit, and the message names the path to the field; or a job file
            of it does not.
    """
    sweep = load_toml(path, Sweep)
    return sweep, expand_sweep(sweep, path)


def expand_sweep(sweep: Sweep, path: Path) -> tuple[SweepRow, ...]:
    """The rows of a sweep, each with its number.

    Args:
        sweep: What the file says.
        path: The file; messages name it, and job files are looked for beside it.

    Raises:
        InputError: As of `load_sweep`.
    """
    lists = _lists(sweep, path)
    fixed = _fields(sweep.options, path, "options")
    rows: list[SweepRow] = []
    seen: dict[bytes, str] = {}
    for number, values in enumerate(_combinations(sweep, lists, path), 1):
        row = _make_row(sweep, number, fixed, values)
        encoded = msgspec.json.encode(row.request)
        if encoded in seen:
            raise InputError(
                f"{path}: row {number}", row.label, f"another job than {seen[encoded]}"
            )
        seen[encoded] = row.run_id
        rows.append(row)
    return tuple(rows)


def _make_row(
    sweep: Sweep, number: int, fixed: dict[str, Any], values: Sequence[_Value]
) -> SweepRow:
    base = next((value.job for value in values if value.job is not None), JobRequest())
    fields = dict(fixed)
    for value in values:
        fields |= value.fields
    run_id = f"{sweep.name}-{number:03}"
    return SweepRow(
        run_id=run_id,
        label=" ".join(value.label for value in values),
        request=msgspec.structs.replace(base, **fields),
    )


def _lists(sweep: Sweep, path: Path) -> dict[str, list[_Value]]:
    """Every list of the sweep by its name, checked."""
    lists: dict[str, list[_Value]] = {}
    if sweep.jobs:
        files = [path.parent / expand_path("jobs", job) for job in sweep.jobs]
        lists["jobs"] = [_Value(file.stem, {}, load_toml(file, JobRequest)) for file in files]
    for key, values in sweep.vary.items():
        lists[f"vary.{key}"] = [
            _Value(f"{key}={value}", _fields({key: value}, path, "vary", f"[{place}]"))
            for place, value in enumerate(values)
        ]
    if not lists:
        raise InputError(f"{path}: vary", None, "at least one list of values, or of jobs")
    return lists


def _combinations(
    sweep: Sweep, lists: dict[str, list[_Value]], path: Path
) -> Iterator[tuple[_Value, ...]]:
    lengths = {name: len(values) for name, values in lists.items()}
    said = ", ".join(f"{name}: {length}" for name, length in lengths.items())
    if sweep.combine == "zip" and len(set(lengths.values())) > 1:
        raise InputError(f"{path}: combine", "zip", f"for lists of one length, and here are {said}")
    rows = math.prod(lengths.values()) if sweep.combine == "cross" else max(lengths.values())
    if rows > MOST_ROWS:
        raise InputError(f"{path}: vary", said, f"at most {MOST_ROWS} rows, and these are {rows}")
    if sweep.combine == "zip":
        return zip(*lists.values(), strict=True)
    return itertools.product(*lists.values())


def _fields(options: dict[str, Any], path: Path, table: str, index: str = "") -> dict[str, Any]:
    """Fields of a `JobRequest` by their names in Python, from their names in a file.

    Raises:
        InputError: No such field, or no such value; the message names `vary.nodes[2]`.
    """
    names = {field.encode_name: field.name for field in msgspec.structs.fields(JobRequest)}
    given: dict[str, Any] = {}
    for key, value in options.items():
        if key in _NOT_HERE[table]:
            raise InputError(
                f"{path}: {table}.{key}", value, "a sweep names its runs and keeps them together"
            )
        try:
            request = convert({key: value}, JobRequest, "job")
        except InputError as error:
            rest = error.field.removeprefix(f"job: {key}").removeprefix("job")
            field = f"{path}: {table}.{key}{index}{rest}"
            raise InputError(field, error.value, error.allowed, error.fix) from None
        given[names[key]] = getattr(request, names[key])
    return given
