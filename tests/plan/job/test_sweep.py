"""From lists of options to jobs, and bad sweeps named by the path to the field."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.errors import InputError
from hvdtrain.files.decode import convert, load_toml
from hvdtrain.plan.job.request import JobRequest, spread_model
from hvdtrain.plan.job.sweep import MOST_ROWS, Sweep, SweepRow, expand_sweep, load_sweep
from hvdtrain.resources import resource_folder

SHIPPED = sorted((resource_folder("jobs") / "sweeps").glob("*.toml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "sweep.toml"
    path.write_text(f'name = "mine"\n{text}')
    return path


def rows_of(folder: Path, text: str) -> tuple[SweepRow, ...]:
    return load_sweep(write(folder, text))[1]


def refused(folder: Path, text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        rows_of(folder, text)
    return caught.value


def test_crossed_lists_give_every_pair_the_last_varying_fastest(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, '[vary]\nnodes = [2, 4]\nrecipe = ["a", "b", "c"]\n')
    pairs = [(row.request.nodes, row.request.recipe) for row in rows]
    assert pairs == [(2, "a"), (2, "b"), (2, "c"), (4, "a"), (4, "b"), (4, "c")]
    assert [row.run_id for row in rows[:2]] == ["mine-001", "mine-002"]
    assert rows[1].label == "nodes=2 recipe=b"


def test_zipped_lists_go_side_by_side(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 'combine = "zip"\n[vary]\nnodes = [2, 4]\nnode_batch = [16, 8]\n')
    assert [(row.request.nodes, row.request.node_batch) for row in rows] == [(2, 16), (4, 8)]


def test_more_values_at_the_end_leave_the_names_of_the_others(tmp_path: Path) -> None:
    before = rows_of(tmp_path, "[vary]\nnodes = [2, 4]\nnode_batch = [16, 8]\n")
    after = rows_of(tmp_path, "[vary]\nnodes = [2, 4, 8]\nnode_batch = [16, 8]\n")
    assert after[:4] == before


def test_a_job_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "job.toml").write_text("nodes = 2\n")
    (row,) = rows_of(tmp_path, 'jobs = ["~/job.toml"]\n')
    assert row.request.nodes == 2


def test_a_job_file_then_options_then_lists(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text('nodes = 2\nnode_batch = 64\nrecipe = "a"\nqos = "q"\n')
    (row,) = rows_of(
        tmp_path,
        'jobs = ["job.toml"]\n[options]\nnode_batch = 32\nqos = "r"\nset = {nice = "5"}\n'
        '[vary]\nqos = ["s"]\n',
    )
    request = row.request
    # 32 is also what a job has that says nothing of it.
    assert (request.nodes, request.node_batch, request.recipe, request.qos) == (2, 32, "a", "s")
    assert request.set_directives == {"nice": "5"}
    assert row.label == "job qos=s"


def test_what_a_training_is_can_vary(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path,
        '[options]\nmodel = "small"\nsteps = 40\n'
        '[vary]\nseed = [1, 2]\nprecision = ["fp32", "bf16"]\n',
    )
    said = [(row.request.seed, row.request.precision) for row in rows]
    assert said == [(1, "fp32"), (1, "bf16"), (2, "fp32"), (2, "bf16")]
    assert {(row.request.model, row.request.steps) for row in rows} == {("small", 40)}
    assert rows[1].label == "seed=1 precision=bf16"


def test_a_list_of_models_may_be_a_list_of_tables(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text('nodes = 2\n[model]\nprecision = "bf16"\n')
    text = 'jobs = ["job.toml"]\n[vary]\nmodel = [{name = "small", image_size = 16}, {}]\n'
    requests = [spread_model(row.request) for row in rows_of(tmp_path, text)]
    # A table is the whole model, also of what it does not name.
    assert requests == [JobRequest(nodes=2, model="small", image_size=16), JobRequest(nodes=2)]


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("colour = 1\n", "colour", "combine, jobs, name, options, vary"),
        ('combine = "mix"\n', "combine", "cross, zip"),
        ("[options]\nnodez = 4\n[vary]\nnodes=[1]\n", "options.nodez", "node_batch, nodes"),
        ('[options]\nnodes = "4"\n[vary]\nqos=["a"]\n', "options.nodes", "int"),
        ("[options]\nnodes = -4\n[vary]\nnodes=[1]\n", "options.nodes", ">= 1"),
        ('[options]\njob_name = "x"\n[vary]\nnodes=[1]\n', "options.job_name", "names its runs"),
        ("[vary]\nnodes = [1, 2, true]\n", "vary.nodes[2]", "int"),
        ("[vary]\nnodez = [1]\n", "vary.nodez[0]", "node_batch, nodes"),
        ("[vary]\nnodes = []\n", "vary", "length >= 1"),
        ("[vary]\nnodes = 4\n", "vary", "array"),
        ('[vary]\nresults = ["a", "b"]\n', "vary.results", "together"),
        ('[vary]\nmodel = [{name = "vgg"}]\n', "vary.model[0].name", "resnet50"),
        ("", "vary", "at least one list"),
        ('combine = "zip"\n[vary]\nnodes=[1,2]\nqos=["a"]\n', "combine", "vary.nodes: 2, vary.qos"),
        ("[vary]\nnodes=[1,2,1]\n", "row 3", "mine-001"),
        (
            f"[vary]\nnodes={list(range(1, 41))}\nnode_batch={list(range(1, 41))}\n",
            "vary",
            f"at most {MOST_ROWS}",
        ),
        ('jobs = ["none.toml"]\n', "none.toml", "can be read"),
    ],
)
def test_a_bad_sweep_is_named_by_its_field(
    tmp_path: Path, text: str, field: str, said: str
) -> None:
    error = refused(tmp_path, text)
    assert field in error.field
    assert str(tmp_path) in error.field
    assert said in f"{error.value} {error.allowed}"


@pytest.mark.parametrize("name", ["a b", "", "../x", "x" * 61])
def test_the_name_of_a_sweep_can_be_that_of_a_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(f'name = "{name}"\n[vary]\nnodes = [1]\n')
    with pytest.raises(InputError) as caught:
        load_sweep(path)
    assert caught.value.field == f"{path}: name"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_sweep_has_rows(path: Path) -> None:
    sweep, rows = load_sweep(path)
    assert sweep.name == path.stem
    assert len(rows) > 1


def test_table_5_is_there_in_full() -> None:
    _, rows = load_sweep(resource_folder("jobs") / "sweeps" / "table-05.toml")
    files = sorted(resource_folder("jobs").glob("table-05-*.toml"))
    assert [row.request for row in rows] == [load_toml(file, JobRequest) for file in files]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
_KEYS = st.sampled_from([*JobRequest.__struct_encode_fields__, "nodez", "", "a.b", "é"])


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(_KEYS, _VALUES, max_size=3), st.dictionaries(_KEYS, st.lists(_VALUES)))
def test_nothing_makes_it_fall(options: dict[str, Any], vary: dict[str, Any]) -> None:
    raw = {"name": "x", "options": options, "vary": vary}
    with contextlib.suppress(InputError):
        assert expand_sweep(convert(raw, Sweep, "f"), Path("f"))
