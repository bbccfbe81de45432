"""`hvdtrain schedule` from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands.schedule import command
from hvdtrain.errors import InputError
from hvdtrain.plan.method.recipe import load_recipe, make_schedule
from tests.cli.markdown import read_cells

FIG_4 = ("collapsed-ensemble-120", "--global-batch", "4096")


def invoke(*words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False)


def points(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(invoke(*words, "--json").stdout)
    return found


def test_json_has_a_row_for_every_epoch() -> None:
    rows = points(*FIG_4)
    # An epoch of 1,281,167 images has 312.785 updates of 4,096: it begins at the nearest one.
    assert [row["step"] for row in rows[:4]] == [0, 313, 626, 938]
    assert [row["epoch"] for row in rows] == pytest.approx(range(120), abs=0.5 / 312)
    assert {tuple(row) for row in rows} == {
        ("epoch", "step", "learning_rate", "weight_decay", "augment")
    }
    # Source: Section VI: 22 % of the peak at epoch 45, times 3 after 3 epochs.
    rate = [row["learning_rate"] for row in rows]
    assert rate[45] == pytest.approx(0.22 * 1.6)
    assert rate[48] == pytest.approx(0.66 * 1.6)


def test_a_finer_grid_ends_with_the_last_step_that_it_meets() -> None:
    rows = points("large-batch-107", "--global-batch", "65536", "--every", "1")
    per_epoch = 1_281_167 / 65_536
    schedule = make_schedule(load_recipe("large-batch-107"), 65_536, per_epoch)
    # Source: Table IX, 2,100 updates for 107 epochs.
    assert [row["step"] for row in rows] == list(range(2092))
    for row in rows:
        assert row["epoch"] == pytest.approx(row["step"] / per_epoch)
        assert row["learning_rate"] == schedule.learning_rate(row["step"])
        assert row["weight_decay"] == schedule.weight_decay(row["step"])
        assert row["augment"] == schedule.augment(row["step"])
    assert [row["step"] for row in points(*FIG_4, "--every", "20000")] == [0, 20_000]


def test_the_table_has_the_same_rows_and_says_where_the_run_ends() -> None:
    text = invoke("collapse-90", "--global-batch", "4096").stdout
    lines = read_cells(text)
    assert lines[0] == ["epoch", "step", "learning rate", "weight decay", "augment", "phase"]
    assert len(lines) == 1 + 90
    assert lines[85] == ["84", "26274", "0.112954", "5e-05", "on", "decay"]
    assert lines[86] == ["85", "26587", "0.094118", "0.0001", "off", "collapse"]
    # Two lines of the table are its head; below it stand an empty line and the end.
    assert text.splitlines()[2 + 90 :] == ["", "ends after 28151 steps, 90 epochs"]
    snapshots = "snapshots at epochs 45, 60, 75, 90, 105, 120"
    assert snapshots in invoke(*FIG_4).stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_drawing_goes_to_its_file_and_nothing_to_stdout(
    tmp_path: Path, ending: str, magic: bytes
) -> None:
    path = tmp_path / f"fig4.{ending}"
    result = invoke(*FIG_4, "--plot", str(path))
    assert result.stdout == ""
    assert result.stderr == f"hvdtrain: wrote {path}\n"
    assert path.read_bytes().startswith(magic)


@pytest.mark.slow
def test_a_drawing_says_what_its_colours_and_marks_are(tmp_path: Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        for name, words in (
            ("large-batch-107", ("weight decay 5e-05", "weight decay 0.0001", "augmentation")),
            ("collapsed-ensemble-120", ("weight decay 5e-05", "snapshot", "augmentation")),
        ):
            path = tmp_path / f"{name}.svg"
            invoke(name, "--global-batch", "65536", "--plot", str(path))
            text = path.read_text()
            assert load_recipe(name).title in text
            for word in words:
                assert text.count(f">{word}<") == 1


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("nope", "--global-batch", "256"), "RECIPE"),
        ((*FIG_4, "--plot", "/nowhere/fig4.png"), "--plot"),
        ((*FIG_4, "--plot", "fig4.doc"), "--plot"),
        ((*FIG_4, "--plot", "fig4"), "--plot"),
    ],
)
def test_the_impossible_is_refused(words: tuple[str, ...], field: str) -> None:
    with pytest.raises(InputError) as caught:
        invoke(*words)
    assert caught.value.field == field


def run(*words: str, start: tuple[str, ...] = ("-m", "hvdtrain")) -> Any:
    return subprocess.run(
        [sys.executable, *start, "schedule", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("batch", "line", "said"),
    [
        ("256", "end = -1.0", "phase[0].end"),
        ("256", "end = nan", "phase[0].end"),
        ("256", 'curve = "sine"\nend = 0.0', "phase[0].curve"),
        ("256", "begin = 3\nend = 0.0", "phase[0].begin"),
        ("0", "end = 0.0", "--global-batch"),
        ("1281168", "end = 0.0", "--global-batch"),
        ("x", "end = 0.0", "--global-batch"),
    ],
)
def test_wrong_input_is_exit_2_with_an_empty_stdout(
    tmp_path: Path, batch: str, line: str, said: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "m"\ntitle = "m"\nsource = "m"\n'
        f'[[phase]]\nname = "p"\nepochs = 2\nstart = 1.0\nweight_decay = 0\n{line}\n'
    )
    done = run(str(path), "--global-batch", batch, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_it_starts_without_what_draws_and_what_trains() -> None:
    start = (
        "-c",
        "import sys\nfrom hvdtrain.cli.main import main\ntry:\n    main()\nfinally:\n"
        "    print('loaded:', *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)",
    )
    done = run(*FIG_4, start=start)
    assert done.returncode == 0
    loaded = set(done.stderr.partition("loaded: ")[2].split())
    assert "hvdtrain" in loaded
    assert not loaded & {"matplotlib", "numpy", "tensorflow", "horovod"}


def test_the_help_ends_with_an_example() -> None:
    last = invoke("--help").stdout.rstrip().splitlines()[-1]
    assert last.strip().startswith("hvdtrain schedule collapsed-ensemble-120")
