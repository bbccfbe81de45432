"""One job for every row of Tables I to IX, each with the row's nodes, batch and updates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hvdtrain.commands.render_job import command
from hvdtrain.resources import resource_folder

NUMERALS = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")

# Table and row: nodes, global batch, epochs, updates as printed. None: the row has none. The
# sockets of Tables VI and VII are halved, and local batches multiplied by the nodes.
ROWS: dict[tuple[int, int], tuple[int, int, int | None, int | None]] = {
    (1, 1): (240, 7680, 90, None),
    (1, 2): (240, 7680, 90, None),
    (2, 1): (256, 8192, 90, 14_200),
    (2, 2): (512, 12_288, 90, 9400),
    (2, 3): (720, 11_520, 90, 10_000),
    (3, 1): (256, 4096, 37, 11_560),
    (3, 2): (256, 8192, 50, 7800),
    (3, 3): (512, 8192, 50, 7800),
    (3, 4): (512, 12_288, 54, 5600),
    # A misprint: 11,560 updates of 12,288 images are 111 epochs.
    (3, 5): (768, 12_288, 37, None),
    (4, 1): (256, 2048, 29, 18_120),
    (4, 2): (256, 4096, 37, 11_560),
    (4, 3): (256, 8192, 29, 4530),
    (4, 4): (256, 8192, 37, 5780),
    (4, 5): (512, 8192, 37, 5780),
    (5, 1): (256, 16 * 256, None, None),
    (5, 2): (256, 32 * 256, None, None),
    (5, 3): (512, 16 * 512, None, None),
    (5, 4): (512, 20 * 512, None, None),
    (5, 5): (512, 24 * 512, None, None),
    (5, 6): (512, 32 * 512, None, None),
    (5, 7): (768, 16 * 768, None, None),
    (5, 8): (1024, 16 * 1024, None, None),
    (5, 9): (1024, 32 * 1024, None, None),
    (5, 10): (1536, 32 * 1536, None, None),
    (6, 1): (256, 32 * 256, None, None),
    (6, 2): (400, 24 * 400, None, None),
    (6, 3): (400, 16 * 400, None, None),
    (6, 4): (512, 16 * 512, None, None),
    (7, 1): (256, 8192, 50, 7800),
    (7, 2): (400, 9600, 60, 8000),
    (7, 3): (400, 6400, 50, 10_000),
    (7, 4): (400, 6400, 75, 15_000),
    (7, 5): (512, 8192, 64, 10_000),
    (7, 6): (512, 8192, 50, 7800),
    (8, 1): (128, 4096, None, None),
    (8, 2): (128, 4096, None, None),
    (8, 3): (128, 4096, None, None),
    (9, 1): (512, 10_240, 91, 11_400),
    (9, 2): (512, 16_384, 92, 7200),
    (9, 3): (1024, 32_768, 100, 4000),
    (9, 4): (1536, 49_152, 100, 2600),
    (9, 5): (128, 65_536, 107, 2100),
}
# The paper rounds to tens and hundreds. 4,000 updates of 32,768 images are 102.4 epochs, not 100.
UPDATES_TOLERANCE = 0.009
MISPRINTED_EPOCHS = {(9, 3): 0.024}


def path_of(table: int, row: int) -> Path:
    batch = ROWS[table, row][1]
    return resource_folder("jobs") / f"table-{table:02}-row-{row:02}-b{batch}.toml"


def render(path: Path, *words: str) -> str:
    runner = CliRunner(env={"HVDTRAIN_SYSTEMS": None, "XDG_CONFIG_HOME": "/nowhere"})
    return runner.invoke(command, ["--job", str(path), *words], catch_exceptions=False).stdout


def test_every_row_has_its_file_and_no_file_is_without_a_row() -> None:
    files = {path.name for path in resource_folder("jobs").glob("*.toml")}
    assert files == {path_of(*where).name for where in ROWS}


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_a_row_is_planned_as_printed(table: int, row: int) -> None:
    path = path_of(table, row)
    nodes, global_batch, epochs, updates = ROWS[table, row]
    assert path.read_text().startswith(f"# Table {NUMERALS[table]}, row {row}: {global_batch:,} ")
    run: dict[str, Any] = json.loads(render(path, "--json"))["run"]
    assert run["nodes"] == nodes
    assert nodes * run["ranks_per_node"] * run["rank_batch"] == global_batch
    planned = sum(phase["epochs"] for phase in run["recipe"]["phase"])
    if epochs is not None:
        assert planned == pytest.approx(epochs)
    if updates is not None:
        assert run["steps_per_epoch"] == 1_281_167 / global_batch
        tolerance = MISPRINTED_EPOCHS.get((table, row), UPDATES_TOLERANCE)
        assert planned * run["steps_per_epoch"] == pytest.approx(updates, rel=tolerance)


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_a_row_is_rendered(table: int, row: int) -> None:
    script = render(path_of(table, row))
    assert script.startswith("#!")
    assert f"#SBATCH --nodes={ROWS[table, row][0]}\n" in script
