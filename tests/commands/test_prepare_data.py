"""`hvdtrain prepare-data` from the command line: output, exit codes, and which stream says what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.data.images import cut_off, write_folders

pytestmark = pytest.mark.tf

ROOT = Path(__file__).resolve().parents[2]


def prepare_data(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hvdtrain", "prepare-data", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=100,
        check=False,
    )


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "images", train=8, validation=2)


def test_a_summary_for_people(folders: Path, tmp_path: Path) -> None:
    done = prepare_data(folders, tmp_path / "shards", "--shards", "8")
    assert done.returncode == 0
    size = sum(path.stat().st_size for path in (tmp_path / "shards").glob("*-of-*"))
    assert done.stdout == (
        f"{tmp_path}/shards: training images: 16 (shards: 8), "
        f"validation images: 4 (shards: 1), classes: 2, bytes: {size}\n"
    )
    assert done.stderr.count("-of-") == 9


def test_a_corrupt_image_is_named_and_the_exit_code_is_1(folders: Path, tmp_path: Path) -> None:
    bad = folders / "val" / "class1" / "000.jpg"
    cut_off(bad)
    for _ in range(2):
        done = prepare_data(folders, tmp_path / "shards", "--shards", "2", "--json")
        assert done.returncode == 1
        summary = json.loads(done.stdout)
        assert summary["corrupt"] == ["val/class1/000.jpg"]
        assert (summary["train_images"], summary["validation_images"]) == (16, 3)
        assert (summary["train_shards"], summary["validation_shards"]) == (2, 1)
        assert "left out:\n  val/class1/000.jpg" in done.stderr
        assert "Traceback" not in done.stderr


def test_what_is_no_image_is_counted(folders: Path, tmp_path: Path) -> None:
    (folders / "train" / "class1" / "a.webp").write_bytes(b"")
    done = prepare_data(folders, tmp_path / "shards", "--shards", "2", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["train_images"] == 16
    assert f"hvdtrain: left out of {folders}: files ending in .webp: 1, such as" in done.stderr


def test_a_name_that_is_not_utf8_is_refused_before_anything_is_written(
    folders: Path, tmp_path: Path
) -> None:
    odd = os.fsdecode(b"caf\xe9.jpg")
    (folders / "val" / "class1" / "000.jpg").rename(folders / "val" / "class1" / odd)
    done = prepare_data(folders, tmp_path / "shards", "--shards", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "val/class1/caf\\xe9.jpg" in done.stderr and "in UTF-8" in done.stderr
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--shards", "17"), "--shards: 17"),
        (("--shards", "2", "--validation-shards", "5"), "--validation-shards: 5"),
        (("--shards", "2", "--size", "8"), "--size"),
    ],
)
def test_wrong_input(folders: Path, tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    done = prepare_data(folders, tmp_path / "shards", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "shards").exists()


def test_a_source_that_is_none(tmp_path: Path) -> None:
    done = prepare_data(tmp_path / "nowhere", tmp_path / "shards", "--shards", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere" in done.stderr


def test_help_ends_with_an_example() -> None:
    done = prepare_data("--help")
    assert done.returncode == 0
    assert done.stdout.rstrip().splitlines()[-2].strip().startswith("Example:")
