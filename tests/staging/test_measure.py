from __future__ import annotations

import os
from pathlib import Path

import pytest

from hvdtrain.staging.measure import measure_data


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def test_of_folders_of_images_the_two_splits_count(tmp_path: Path) -> None:
    for name, size in (("train/a/1.jpg", 5), ("train/b/2.jpg", 6), ("val/a/3.jpg", 7)):
        write(tmp_path / name, size)
    write(tmp_path / "test/4.jpg", 100)
    write(tmp_path / "all.tar", 1000)
    (tmp_path / "train/a/gone.jpg").symlink_to("nowhere")
    assert measure_data(tmp_path, 10) == (3, 18, False)
    assert measure_data(tmp_path, 3) == (3, 18, False)
    files, _, more = measure_data(tmp_path, 2)
    assert (files, more) == (2, True)


def test_of_shards_the_others_do_not_count(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
        write(tmp_path / name, 10)
    write(tmp_path / "manifest.json", 50)
    assert measure_data(tmp_path, 10) == (3, 30, False)


def test_what_cannot_be_read_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(2)):
        measure_data(tmp_path / "nowhere", 10)
