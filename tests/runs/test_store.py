"""What a results folder holds, and what is not believed."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hvdtrain.collect.runs import make_run
from hvdtrain.collect.tables.runs_table import make_rows
from hvdtrain.errors import InputError
from hvdtrain.runs.names import PLAN_FILE, RECORD_FILE
from hvdtrain.runs.progress import read_runs
from hvdtrain.runs.record import Record
from hvdtrain.runs.store import Incomplete, Malformed, read_ensembles, read_results
from tests.collect.records import make_record, make_test_plan, write_plan, write_record

VALID = msgspec.json.encode(make_record("run"))


def read_one(results: Path) -> Record | Incomplete | Malformed:
    (found,) = read_results(results)
    return found


def write_bytes(results: Path, data: bytes, name: str = RECORD_FILE) -> None:
    folder = results / "run"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(data)


def changed(**change: Any) -> bytes:
    """The valid record with other values; a value of None removes the key."""
    values = msgspec.json.decode(VALID) | change
    return msgspec.json.encode({key: v for key, v in values.items() if v is not None})


def test_a_record_comes_back_whole(tmp_path: Path) -> None:
    record = make_record("run")
    write_record(tmp_path, record)
    assert read_one(tmp_path) == record


def test_a_plan_without_a_record_is_incomplete(tmp_path: Path) -> None:
    plan = make_test_plan(nodes=512)
    write_plan(tmp_path, "cut-off", plan)
    assert read_one(tmp_path) == Incomplete(run_id="cut-off", plan=plan)


def test_a_run_reached_through_a_link_counts(tmp_path: Path) -> None:
    record = make_record("run")
    write_record(tmp_path / "elsewhere", record)
    results = tmp_path / "results"
    results.mkdir()
    (results / "run").symlink_to(tmp_path / "elsewhere" / "run")
    assert read_one(results) == record


def test_a_second_name_of_a_run_and_what_is_hidden_are_no_runs(tmp_path: Path) -> None:
    record = make_record("run")
    write_record(tmp_path, record)
    (tmp_path / "latest").symlink_to("run")
    (tmp_path / "best").symlink_to(tmp_path / "latest")
    write_record(tmp_path, make_record(".run.0a1b2c3d"))
    assert list(read_results(tmp_path)) == [record]
    assert [facts.run_id for facts in read_runs(tmp_path)] == ["run"]
    assert list(read_ensembles(tmp_path)) == []


def test_what_is_no_run_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Results")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "job.sh").write_text("exit 0")
    assert list(read_results(tmp_path)) == []


def test_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    for name in ("b", "c", "a"):
        write_plan(tmp_path, name, make_test_plan())
    runs = [run.run_id for run in read_results(tmp_path) if isinstance(run, Incomplete)]
    assert runs == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (VALID[: len(VALID) // 2], "truncated"),
        (b"\xff\xfe{}", "malformed"),
        (b"null", "Expected `object`"),
        (b'{"a":' + b"[" * 100_000, "unknown field"),
        (changed(accuracy=0.76), "unknown field `accuracy`"),
        (changed(plan=None), "missing required field `plan`"),
        (changed(steps="many"), "Expected `int`"),
        (changed(steps=-1), ">= 0"),
        (changed(steps=1).replace(b'"steps":1,', b'"steps":' + b"9" * 400 + b","), "more steps"),
        (changed(kind="real"), "kind"),
        (changed(images_per_second=15000.0).replace(b"15000.0", b"NaN"), "malformed"),
        (changed(images_per_second=15000.0).replace(b"15000.0", b"1e999"), "out of range"),
        (changed(schema_version=2), "schema_version is 2, and this hvdtrain reads up to 1"),
        (changed(schema_version=2, power_watts=9), "schema_version is 2"),
        (changed(schema_version=0), "schema_version"),
        (changed(run_id="other"), "run_id is 'other'"),
        (changed(failure="out of memory"), "completed, and it names a failure"),
        (VALID.replace(b'"image_size":224', b'"image_size":7'), "image_size: 7"),
        (VALID.replace(b'"nodes":256', b'"nodes":' + b"9" * 300), "more images than"),
        (VALID.replace(b"1281167", b"9" * 300), "any data set"),
    ],
)
def test_a_record_that_cannot_be_believed_is_named(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    write_bytes(tmp_path, data)
    found = read_one(tmp_path)
    assert isinstance(found, Malformed)
    assert found.path == tmp_path / "run" / RECORD_FILE
    assert reason in found.reason


def test_synthetic_images_never_make_a_measured_record(tmp_path: Path) -> None:
    write_record(tmp_path, make_record("run", plan=make_test_plan(source="synthetic")))
    found = read_one(tmp_path)
    assert isinstance(found, Malformed)
    assert "synthetic images" in found.reason


def test_a_bad_record_is_not_made_good_by_its_plan(tmp_path: Path) -> None:
    write_record(tmp_path, make_record("run")).write_bytes(VALID[:-1])
    assert isinstance(read_one(tmp_path), Malformed)


@pytest.mark.parametrize("data", [b"{", VALID, b"[]"])
def test_a_plan_that_is_none_is_named(tmp_path: Path, data: bytes) -> None:
    write_bytes(tmp_path, data, PLAN_FILE)
    found = read_one(tmp_path)
    assert isinstance(found, Malformed)
    assert found.path.name == PLAN_FILE


def test_an_impossible_plan_is_named(tmp_path: Path) -> None:
    folder = write_plan(tmp_path, "run", make_test_plan())
    plan = (folder / PLAN_FILE).read_bytes()
    (folder / PLAN_FILE).write_bytes(plan.replace(b'"nodes":256', b'"nodes":2560'))
    assert isinstance(read_one(tmp_path), Malformed)


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nothing")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / RECORD_FILE).symlink_to(RECORD_FILE)
    found = list(read_results(tmp_path))
    assert all(isinstance(one, Malformed) for one in found)
    assert len(found) == 3


@pytest.mark.timeout(20)
def test_a_pipe_or_a_device_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / RECORD_FILE)
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / RECORD_FILE).symlink_to("/dev/zero")
    (tmp_path / "folder" / RECORD_FILE).mkdir(parents=True)
    reasons = [one.reason for one in read_results(tmp_path) if isinstance(one, Malformed)]
    assert reasons == ["not a regular file", "Is a directory", "not a regular file"]


def test_a_record_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(tmp_path, make_record("run"))

    def refuse(path: Path, _flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    # Taking the permission away would not stop root.
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        found = read_one(tmp_path)
    assert isinstance(found, Malformed)
    assert found.reason == "Permission denied"


def test_results_that_are_no_results_folder(tmp_path: Path) -> None:
    record = write_record(tmp_path, make_record("run"))
    for results in (tmp_path / "missing", record, record.parent):
        with pytest.raises(InputError, match="RESULTS"):
            list(read_results(results))


@given(data=st.binary())
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    results = tmp_path_factory.mktemp("results")
    write_bytes(results, data)
    assert isinstance(read_one(results), Malformed)


# Whole numbers up to 2^53 are themselves also where a float is read.
_WHOLE = st.integers(-(2**53), 2**53)
_SCALARS = st.none() | st.booleans() | _WHOLE | st.floats() | st.text(max_size=8)


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value in a JSON document."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(p for key, item in inner for p in _paths(item, (*path, key)))]


def _replaced(value: Any, path: tuple[str | int, ...], new: object) -> object:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


def _value_at(value: Any, path: tuple[str | int, ...]) -> object:
    for key in path:
        value = value[key]
    return list(value) if isinstance(value, tuple) else value


_DOCUMENT = msgspec.json.decode(msgspec.json.encode(make_record("run", hosts=("c1",))))


@given(path=st.sampled_from(_paths(_DOCUMENT)[1:]), new=_SCALARS | st.just([]))
@example(path=("plan", "nodes"), new=10**400)
@example(path=("seconds",), new=10**400)
@settings(max_examples=400, deadline=None)
def test_any_other_value_is_refused_or_read_as_it_is(
    path: tuple[str | int, ...], new: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    results = tmp_path_factory.mktemp("results")
    write_bytes(results, json.dumps(_replaced(_DOCUMENT, path, new)).encode())
    found = read_one(results)
    if isinstance(found, Record):
        assert _value_at(msgspec.to_builtins(found), path) == new
        assert math.isfinite(make_rows([make_run(found)])[0].difference_percent or 0)
    else:
        assert isinstance(found, Malformed)


@pytest.mark.parametrize("field", ["epoch", "steps"])
def test_an_epoch_beyond_all_runs_is_not_believed(tmp_path: Path, field: str) -> None:
    record = make_record("run")
    epoch = msgspec.structs.replace(record.epochs[0], **{field: 2**60})
    write_record(tmp_path, msgspec.structs.replace(record, epochs=(epoch,)))
    (found,) = read_results(tmp_path)
    assert isinstance(found, Malformed)
    assert "epoch" in found.reason
