"""What lies behind a path, and what is said when it is nothing that can be used."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.method.dataset import DatasetInfo
from hvdtrain.train.data.dataset import discover, find_planned
from hvdtrain.train.data.folders import list_folders
from hvdtrain.train.data.manifest import MANIFEST_NAME, Manifest, Shard, ShardOrigin
from hvdtrain.train.data.tfrecords import index_shard, index_split
from tests.train.data.records import write_frames


def touch_folders(root: Path, files: dict[str, list[str]]) -> Path:
    for folder, names in files.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).write_bytes(b"")
    return root


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return touch_folders(
        tmp_path / "data",
        {
            "train/zebra": ["1.jpg", "2.JPEG", ".hidden.jpg", "notes.txt"],
            "train/ant": ["3.png"],
            "val/ant": ["4.jpg"],
            "val/zebra": ["5.jpeg"],
        },
    )


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    write_frames(folder / "train-00000-of-00002", [b"abc", b"", b"x" * 1000])
    write_frames(folder / "train-00001-of-00002", [b"d"])
    write_frames(folder / "validation-00000-of-00001", [b"e", b"f"])
    return folder


def message(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        discover(path)
    return str(caught.value)


def test_folders(folders: Path) -> None:
    source, info = discover(folders)
    assert (source.kind, source.path) == ("folders", str(folders))
    assert (info.train_images, info.validation_images, info.classes) == (3, 2, 2)


def test_classes_are_numbered_by_their_sorted_names(folders: Path) -> None:
    train = list_folders(folders).train
    assert dict(zip(train.names, train.labels, strict=True)) == {
        "ant/3.png": 0,
        "zebra/1.jpg": 1,
        "zebra/2.JPEG": 1,
    }


def test_what_is_left_out_is_counted(folders: Path) -> None:
    ant = folders / "train" / "ant"
    for name in ("a.webp", "b.WEBP", "c.bmp", "d.tif", "e.jfif", "README"):
        (ant / name).write_bytes(b"")
    (ant / "f.jpg").symlink_to("nowhere")
    (ant / "g.jpg").symlink_to("g.jpg")
    (ant / "h.jpg").symlink_to("3.png")
    os.mkfifo(ant / "i.jpg")
    (ant / "more").mkdir()
    (folders / "train" / "j.jpg").write_bytes(b"")
    found = list_folders(folders)
    assert [name for name in found.train.names if name.startswith("ant/")] == [
        *("ant/3.png", "ant/e.jfif", "ant/h.jpg")
    ]
    kinds = [line.removeprefix(f"left out of {folders}: ") for line in found.unread]
    assert [kind.partition(", such as ")[0] for kind in kinds] == [
        "files ending in .bmp: 1",
        "files ending in .tif: 1",
        "files ending in .txt: 1",
        "files ending in .webp: 2",
        "files without a suffix: 1",
        "folders: 1",
        "images beside the folders of the classes: 1",
        "links to nothing: 2",
        "pipes, sockets or devices: 1",
    ]
    assert kinds[6].endswith(f"such as '{folders}/train/j.jpg'")
    told: list[str] = []
    discover(folders, tell=told.append)
    assert tuple(told) == found.unread


def test_a_class_that_is_not_there_is_an_error(folders: Path) -> None:
    for split in ("train", "val"):
        (folders / split / "bee").symlink_to("/nowhere/bee")
    text = message(folders)
    assert str(folders / "train" / "bee") in text and "a link to nothing" in text


def test_validation_images_without_class_folders(folders: Path) -> None:
    shutil.rmtree(folders / "val")
    (folders / "val").mkdir()
    (folders / "val" / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"")
    assert "no class folders\n  fix: move each image into the folder of its class" in message(
        folders
    )


@pytest.mark.parametrize("name", [b"train/ant/caf\xe9.jpg", b"val/caf\xe9/1.jpg"])
def test_names_that_are_not_utf8_are_refused(folders: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(folders), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "wb").close()
    text = message(folders)
    assert "caf\\xe9" in text and "text in UTF-8" in text
    text.encode()


def test_what_is_left_out_may_have_any_name(folders: Path) -> None:
    open(os.path.join(os.fsencode(folders), b"train/ant/caf\xe9.webp"), "wb").close()
    "\n".join(list_folders(folders).unread).encode()


@pytest.mark.parametrize("gone", [False, True])
def test_a_working_folder_without_a_usable_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    here = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    here.mkdir()
    monkeypatch.chdir(here)
    if gone:
        here.rmdir()
    text = message(Path("data"))
    assert ("the working folder has been removed" if gone else "text in UTF-8") in text


def test_shards(shards: Path) -> None:
    source, info = discover(shards)
    assert (source.kind, source.path) == ("tfrecords", str(shards))
    assert (info.train_images, info.validation_images, info.classes) == (4, 2, 1000)
    assert discover(shards, classes=7)[1].classes == 7


def test_shards_named_val(shards: Path) -> None:
    (shards / "validation-00000-of-00001").rename(shards / "val-00000-of-00001.tfrecord")
    assert discover(shards)[1].validation_images == 2


def test_a_relative_path_becomes_absolute(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folders.parent)
    assert discover("data")[0].path == str(folders)


@settings(deadline=None)
@given(st.lists(st.lists(st.binary(max_size=40), max_size=8), min_size=1, max_size=4))
def test_every_record_is_found_where_it_starts(contents: list[list[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = tuple(f"train-{i:05d}-of-{len(contents):05d}" for i in range(len(contents)))
        for shard, records in zip(names, contents, strict=True):
            write_frames(folder / shard, records)
        index = index_split(folder, names)
        found = []
        for shard_number, offset in zip(index.shards, index.offsets, strict=True):
            data = Path(index.paths[shard_number]).read_bytes()[offset:]
            found.append(data[12 : 12 + struct.unpack("<Q", data[:8])[0]])
    assert found == [record for records in contents for record in records]


@pytest.mark.parametrize("lost", [1, 4, 5, 1003, 1015])
def test_a_shard_that_was_cut_off_is_named(shards: Path, lost: int) -> None:
    shard = shards / "train-00000-of-00002"
    shard.write_bytes(shard.read_bytes()[:-lost])
    with pytest.raises(InputError, match="record 2 at byte 35 runs past the end") as caught:
        index_shard(shard)
    assert str(shard) in str(caught.value)


def test_a_compressed_shard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-00000-of-00001"
    path.write_bytes(b"\x1f\x8b\x08\x00" + b"\x77" * 100)
    with pytest.raises(InputError, match="compressed"):
        index_shard(path)


def test_a_missing_path_says_what_was_expected(tmp_path: Path) -> None:
    text = message(tmp_path / "nowhere")
    assert "no such file" in text and "train/ and val/" in text and "TFRecord" in text


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "not a directory" in message(tmp_path / "file")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "found nothing" in message(tmp_path)


def test_something_else(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_text("")
    assert "found images.zip" in message(tmp_path)


def test_folders_without_validation_images(folders: Path) -> None:
    shutil.rmtree(folders / "val")
    assert str(folders / "val") in message(folders)


def test_an_empty_training_folder(folders: Path) -> None:
    shutil.rmtree(folders / "train")
    (folders / "train").mkdir()
    assert "no class folders" in message(folders)


def test_splits_with_different_classes(folders: Path) -> None:
    (folders / "val" / "zebra").rename(folders / "val" / "zebu")
    assert "zebra, zebu" in message(folders)


def test_a_class_without_images(folders: Path) -> None:
    (folders / "train" / "ant" / "3.png").unlink()
    text = message(folders)
    assert str(folders / "train" / "ant") in text and "at least one image" in text


def test_shards_without_validation_shards(shards: Path) -> None:
    (shards / "validation-00000-of-00001").unlink()
    assert "there is no validation-*-of-*" in message(shards)


def test_a_missing_shard(shards: Path) -> None:
    (shards / "train-00000-of-00002").unlink()
    assert "number 0 is missing" in message(shards)


def test_two_sets_of_shards(shards: Path) -> None:
    write_frames(shards / "train-00002-of-00003", [b""])
    assert "[2, 3]" in message(shards)


def test_shards_without_records(shards: Path) -> None:
    (shards / "validation-00000-of-00001").write_bytes(b"")
    assert "validation shards hold no record" in message(shards)


@pytest.mark.parametrize("layout", ["folders", "shards"])
def test_the_fingerprint_follows_the_data_and_not_the_place(
    layout: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    data: Path = request.getfixturevalue(layout)
    before = discover(data)[1]
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    assert discover(moved)[1] == before
    if layout == "folders":
        (moved / "val" / "ant" / "4.jpg").rename(moved / "val" / "ant" / "6.jpg")
    else:
        write_frames(moved / "train-00001-of-00002", [b"longer"])
    changed = discover(moved)[1]
    assert changed.fingerprint != before.fingerprint
    assert changed.train_images == before.train_images


def test_other_data_than_planned_stop_the_run(folders: Path) -> None:
    source, planned = discover(folders)
    assert find_planned(source, planned) == list_folders(folders)
    (folders / "train" / "ant" / "7.jpg").write_bytes(b"")
    with pytest.raises(RunError, match="planned: folders, 3 training") as caught:
        find_planned(source, planned)
    assert "found:   folders, 4 training" in str(caught.value)


def test_a_plan_made_without_the_data_accepts_any_with_its_counts(folders: Path) -> None:
    source, info = discover(folders)
    blind = msgspec.structs.replace(info, fingerprint="")
    find_planned(source, blind)
    with pytest.raises(RunError):
        find_planned(source, msgspec.structs.replace(blind, train_images=99))


def write_manifest(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    entries = {
        split: tuple(
            Shard(name=name, images=images, size_bytes=size)
            for name, (images, size) in sizes.items()
            if name.startswith(split)
        )
        for split in ("train", "validation")
    }
    origin = ShardOrigin(
        source_fingerprint="", train_shards=2, validation_shards=1, seed=0, size=None
    )
    manifest = Manifest(schema_version=1, origin=origin, classes=("a", "b", "c"), **entries)
    (folder / MANIFEST_NAME).write_bytes(msgspec.json.encode(manifest))


SIZES = {
    "train-00000-of-00002": (3, 1051),
    "train-00001-of-00002": (1, 17),
    "validation-00000-of-00001": (2, 34),
}


def test_a_manifest_gives_counts_and_classes(shards: Path) -> None:
    write_manifest(shards, SIZES)
    _, info = discover(shards)
    expected = DatasetInfo(
        train_images=4, validation_images=2, classes=3, fingerprint=info.fingerprint
    )
    assert info == expected


def test_a_shard_of_another_size_than_the_manifest_says(shards: Path) -> None:
    write_manifest(shards, SIZES | {"train-00001-of-00002": (1, 18)})
    text = message(shards)
    assert "train-00001-of-00002" in text and "says 18 bytes, here are 17" in text


def test_a_manifest_of_other_shards(shards: Path) -> None:
    write_manifest(shards, {k: v for k, v in SIZES.items() if k != "train-00001-of-00002"})
    assert "the manifest names" in message(shards)


def test_a_broken_manifest(shards: Path) -> None:
    (shards / MANIFEST_NAME).write_text('{"schema_version": "one"}')
    assert "not a manifest" in message(shards)


def test_discovery_needs_no_tensorflow() -> None:
    code = "import sys, hvdtrain.train.data.dataset; sys.exit('tensorflow' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60, check=False)
    assert done.returncode == 0
