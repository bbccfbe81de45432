"""`hvdtrain predict` from the outside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands.predict import command
from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.step_time import Ring, StepTime
from hvdtrain.resources import resource_folder
from tests.cli.markdown import read_cells
from tests.collect.records import make_record, make_test_plan, write_record

KEYS = (
    *("epoch_seconds", "step_seconds", "images_per_second"),
    *("efficiency", "minutes_to_train", "evaluation_minutes", "node_hours"),
)
TRUTH = StepTime(
    image_seconds=0.02,
    fixed_seconds=0.1,
    ring=Ring(hop_seconds=1e-4, transfer_seconds=0.03),
    error=0,
    fitted_nodes=(1, 1),
    fitted_batch=(1, 1),
    source="made up",
)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False)


def forecast(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(invoke(*words, "--json").stdout)
    return found


def write_runs(
    folder: Path, shapes: Iterable[tuple[int, int]], noise: float = 0.0, **fields: Any
) -> str:
    """Runs on lumi-c that take what TRUTH says, every other one longer by `noise`."""
    for number, (node_batch, nodes) in enumerate(shapes):
        plan = make_test_plan(system="lumi-c", nodes=nodes, node_batch=node_batch)
        seconds = TRUTH.step_seconds(node_batch, nodes) * (1 + noise * (number % 2))
        write_record(
            folder, make_record(f"run-{number}", plan=plan, seconds_per_step=seconds, **fields)
        )
    return str(folder)


GRID = [(batch, nodes) for batch in (16, 32) for nodes in (1, 4, 16)]


def test_the_json_has_these_keys_and_no_other() -> None:
    found = forecast("--nodes", "1536")
    assert tuple(found) == KEYS
    for value in found.values():
        assert tuple(value) == ("value", "low", "high")
        assert 0 < value["low"] < value["value"] < value["high"]
    # Source: Table IX, 28 minutes; Table V, 16.8 s.
    assert found["minutes_to_train"]["value"] == pytest.approx(28, abs=1)
    assert found["epoch_seconds"]["value"] == pytest.approx(16.8, rel=0.05)


def test_several_numbers_of_nodes_are_told_apart() -> None:
    found = forecast("--nodes", "512", "--nodes", "256", "--nodes", "512")
    assert list(found) == ["512", "256"]
    assert found["256"] == forecast("--nodes", "256")
    lines = read_cells(invoke("--nodes", "512", "--nodes", "256").stdout)
    assert [cells[0] for cells in lines] == ["nodes", "512", "256"]
    assert lines[1][1] == "16384"


def test_options_change_what_they_say() -> None:
    usual = forecast("--nodes", "256")
    larger = forecast("--nodes", "256", "--node-batch", "16")
    assert larger["step_seconds"]["value"] < usual["step_seconds"]["value"]
    accumulated = forecast("--nodes", "256", "--accumulate", "4", "--recipe", "linear-90")
    assert 3.8 < accumulated["step_seconds"]["value"] / usual["step_seconds"]["value"] < 4
    short = forecast("--nodes", "256", "--epochs", "45")
    ratio = short["minutes_to_train"]["value"] / usual["minutes_to_train"]["value"]
    assert ratio == pytest.approx(0.5, abs=0.01)


def test_outside_of_what_was_fitted_the_interval_is_wider_and_it_says_so() -> None:
    assert "outside" not in invoke("--nodes", "256").stderr
    assert "64 nodes x 32 images lie outside" in invoke("--nodes", "64", "--nodes", "256").stderr
    inside, outside = forecast("--nodes", "256"), forecast("--nodes", "64")

    def width(found: dict[str, Any]) -> float:
        step = found["step_seconds"]
        return float(step["high"] / step["value"] - 1)

    assert width(outside) == pytest.approx(2 * width(inside))


def test_it_says_whose_software_was_measured() -> None:
    assert "Intel Caffe" in invoke("--nodes", "256").stderr


def test_own_runs_are_fitted(tmp_path: Path) -> None:
    results = write_runs(tmp_path, GRID)
    words = ("--system", "lumi-c", "--fit", results, "--nodes", "8", "--node-batch", "24")
    found = forecast(*words)["step_seconds"]
    assert found["value"] == pytest.approx(TRUTH.step_seconds(24, 8), rel=1e-3)
    assert found["high"] / found["value"] - 1 < 1e-3
    assert "6 runs, 0 of them on synthetic images" in invoke(*words).stderr


def test_noisy_runs_give_a_wider_interval(tmp_path: Path) -> None:
    results = write_runs(tmp_path, GRID, noise=0.1, kind="synthetic")
    words = ("--system", "lumi-c", "--fit", results, "--nodes", "8")
    found = forecast(*words)["step_seconds"]
    assert found["low"] < TRUTH.step_seconds(32, 8) < found["high"]
    assert found["high"] / found["value"] - 1 > 0.03
    assert "6 of them on synthetic images" in invoke(*words).stderr


def test_the_check_of_a_fit_is_there_for_programs(tmp_path: Path) -> None:
    results = write_runs(tmp_path, GRID)
    words = ("--system", "lumi-c", "--fit", results, "--validate", "--json")
    found = json.loads(invoke(*words).stdout)
    assert len(found["points"]) == len(GRID)
    assert len(found["errors"]) == len(found["left_out_errors"]) == len(GRID)
    assert max(map(abs, found["errors"])) < 1e-3
    assert found["step_time"]["model"]["name"] == "resnet50"


def test_a_damaged_record_is_counted(tmp_path: Path) -> None:
    results = write_runs(tmp_path, GRID)
    (tmp_path / "run-0" / "record.json").write_text("{")
    done = invoke("--system", "lumi-c", "--fit", results, "--nodes", "8")
    assert "1 runs" in done.stderr and "hvdtrain collect" in done.stderr
    assert "5 runs, 0 of them" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--system", "lumi-c", "--nodes", "4"), "--fit RESULTS"),
        (("--system", "lumi-c", "--validate"), "--fit RESULTS"),
        (("--system", "nowhere", "--nodes", "4"), "nowhere"),
        ((), "--nodes"),
        (("--validate", "--nodes", "4"), "--validate"),
        (("--nodes", "100000"), "1281167"),
        (("--nodes", "4", "--recipe", "nothing"), "nothing"),
        (("--nodes", "4", "--fit", "/nowhere"), "/nowhere"),
        (("--nodes", "256", "--model", "small"), "fitted to resnet50-v1/224/1000/fp32"),
        (("--nodes", "256", "--image-size", "128"), "--model: 'resnet50-v1/128/1000/fp32'"),
        (("--nodes", "256", "--precision", "bf16"), "--fit RESULTS"),
    ],
)
def test_wrong_input_is_named(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError) as caught:
        invoke(*words)
    assert said in str(caught.value)


@pytest.mark.parametrize("shapes", [GRID[:3], GRID[:1], [(16, 1), (16, 2), (16, 4), (16, 8)]])
def test_too_few_runs_are_refused(tmp_path: Path, shapes: list[tuple[int, int]]) -> None:
    results = write_runs(tmp_path, shapes)
    with pytest.raises(InputError, match="at least 4 sizes"):
        invoke("--system", "lumi-c", "--fit", results, "--nodes", "4")


def test_validation_shows_every_row_of_the_paper() -> None:
    text = invoke("--validate").stdout
    rows = [cells for cells in read_cells(text) if cells[0].startswith("Table V, row")]
    assert len(rows) == 10
    assert all(abs(float(cells[-2])) <= 5 for cells in rows)
    assert "odd rows forecast the even ones: within 6.6 %" in text
    assert "Table VI, row 4" in invoke("--system", "marenostrum4", "--validate").stdout


def test_the_fit_can_be_put_into_a_system_file(tmp_path: Path) -> None:
    results = write_runs(tmp_path / "results", GRID, noise=0.01)
    words = ("--system", "lumi-c", "--fit", results)
    text = invoke(*words, "--validate").stdout
    shipped = (resource_folder("systems") / "lumi-c.toml").read_text()
    (tmp_path / "lumi-c.toml").write_text(f"{shipped}\n{text[text.index('[step_time]') :]}")
    stored = forecast("--system", "lumi-c", "--nodes", "8", "--systems-dir", str(tmp_path))
    fitted = forecast(*words, "--nodes", "8")
    for key in KEYS:
        assert stored[key]["high"] == pytest.approx(fitted[key]["high"], rel=1e-4)


def write_both_models(folder: Path) -> str:
    """Six runs of ResNet-50 as TRUTH has them, and seven of the small model in a tenth of that."""
    write_runs(folder, GRID)
    for number, (node_batch, nodes) in enumerate([*GRID, (64, 4)]):
        plan = make_test_plan(
            system="lumi-c",
            nodes=nodes,
            node_batch=node_batch,
            name="small",
            image_size=32,
        )
        seconds = TRUTH.step_seconds(node_batch, nodes) / 10
        write_record(folder, make_record(f"small-{number}", plan=plan, seconds_per_step=seconds))
    return str(folder)


def test_a_fit_uses_the_runs_of_one_model_only(tmp_path: Path) -> None:
    words = ("--system", "lumi-c", "--nodes", "8", "--fit", write_both_models(tmp_path))
    small = ("--model", "small", "--classes", "1000")
    whole = TRUTH.step_seconds(32, 8)
    # Most runs are of the small model.
    for more, seconds in (((), whole / 10), (small, whole / 10), (("--model", "resnet50"), whole)):
        found = forecast(*words, *more)["step_seconds"]
        assert found["value"] == pytest.approx(seconds, rel=1e-3)
    assert "6 runs with another model than small/32/1000/fp32" in invoke(*words).stderr
    with pytest.raises(InputError) as caught:
        invoke(*words, "--precision", "bf16")
    assert caught.value.field == "--model"
    assert caught.value.allowed.endswith("resnet50-v1/224/1000/fp32, small/32/1000/fp32")


def test_a_fit_says_which_model_it_was_fitted_to(tmp_path: Path) -> None:
    results = write_both_models(tmp_path / "results")
    text = invoke("--system", "lumi-c", "--fit", results, "--validate").stdout
    table = '[step_time.model]\nname = "small"\nversion = "v1"\nimage_size = 32\n'
    assert table in text
    shipped = (resource_folder("systems") / "lumi-c.toml").read_text()
    (tmp_path / "lumi-c.toml").write_text(f"{shipped}\n{text[text.index('[step_time]') :]}")
    words = ("--system", "lumi-c", "--nodes", "8", "--systems-dir", str(tmp_path))
    assert forecast(*words)["step_seconds"]["value"] == pytest.approx(
        TRUTH.step_seconds(32, 8) / 10, rel=1e-3
    )
    with pytest.raises(InputError, match="small/32/1000/fp32"):
        invoke(*words, "--model", "resnet50")


def test_validation_of_own_runs(tmp_path: Path) -> None:
    shapes = [(16, 1), (16, 2), (16, 4), (32, 4)]
    results = write_runs(tmp_path, shapes)
    text = invoke("--system", "lumi-c", "--fit", results, "--validate").stdout
    # Without its only run of another batch, nothing is known of the batch.
    (row,) = (cells for cells in read_cells(text) if cells[1:3] == ["32", "4"])
    assert row[-1] == "+100.0"
    assert "forecast the even ones: too few" in text


def test_larger_groups_of_gradients_are_said() -> None:
    said = invoke("--system", "stampede2-knl", "--nodes", "256", "--nodes", "1536").stderr
    assert "note: 1536 ranks reduce gradients in groups of 28.8 MB: " in said
    assert "256 ranks" not in said
