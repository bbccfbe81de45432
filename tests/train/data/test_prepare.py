"""Shards that hold the images they should, also after an interruption."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from hvdtrain.errors import InputError, RunError
from hvdtrain.train.data.dataset import discover
from tests.train.data.images import cut_off, decode_with_pillow, draw, encode, write_folders

tf = pytest.importorskip("tensorflow")
from hvdtrain.train.data.manifest import MANIFEST_NAME, Shard  # noqa: E402
from hvdtrain.train.data.prepare import (  # noqa: E402
    JOURNAL_NAME,
    PrepareJob,
    prepare,
)
from hvdtrain.train.data.shardwriter import Progress, ShardWriter  # noqa: E402

pytestmark = pytest.mark.tf


class Heard:
    """What `prepare` told."""

    def __init__(self) -> None:
        self.totals: list[tuple[int, int]] = []
        self.advanced = 0
        self.shards: list[str] = []
        self.corrupt: list[tuple[str, str]] = []
        self.unread: list[str] = []
        self.progress = Progress(
            started=lambda images, earlier: self.totals.append((images, earlier)),
            advanced=self._advance,
            finished=lambda shard: self.shards.append(shard.name),
            corrupt=lambda path, reason: self.corrupt.append((path, reason)),
            unread=self.unread.append,
        )

    def _advance(self, images: int) -> None:
        self.advanced += images


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "images", train=6, validation=3)


def job(folders: Path, destination: Path, **changes: Any) -> PrepareJob:
    values = {"train_shards": 4, "validation_shards": 2, "seed": 5} | changes
    return PrepareJob(source=folders, destination=destination, **values)


def run(job: PrepareJob) -> Heard:
    heard = Heard()
    prepare(job, heard.progress)
    return heard


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def records(folder: Path, split: str) -> list[Any]:
    """The parsed records of a split, read by TensorFlow's own reader."""
    shards = [str(path) for path in sorted(folder.glob(f"{split}-*"))]
    data = tf.data.TFRecordDataset(shards)
    return [tf.train.Example.FromString(r.numpy()).features.feature for r in data]


def test_records_hold_the_original_bytes_and_what_imagenet_records_hold(
    folders: Path, tmp_path: Path
) -> None:
    run(job(folders, tmp_path / "shards"))
    for split, folder, images in (("train", "train", 12), ("validation", "val", 6)):
        found = set()
        for features in records(tmp_path / "shards", split):
            synset = features["image/class/synset"].bytes_list.value[0].decode()
            name = features["image/filename"].bytes_list.value[0].decode()
            original = (folders / folder / synset / name).read_bytes()
            assert features["image/encoded"].bytes_list.value == [original]
            assert features["image/class/label"].int64_list.value == [1 + int(synset[-1])]
            assert features["image/format"].bytes_list.value == [b"JPEG"]
            assert features["image/height"].int64_list.value == [32]
            assert features["image/width"].int64_list.value == [32]
            found.add((synset, name))
        assert len(found) == images


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF"])
def test_the_format_is_that_of_the_bytes_whatever_the_name(
    folders: Path, tmp_path: Path, form: str
) -> None:
    (folders / "val" / "class0" / "000.jpg").write_bytes(encode(draw(32, 32), form))
    heard = run(job(folders, tmp_path / "shards"))
    found = {
        features["image/format"].bytes_list.value[0]
        for features in records(tmp_path / "shards", "validation")
        if features["image/filename"].bytes_list.value == [b"000.jpg"]
        and features["image/class/label"].int64_list.value == [1]
    }
    assert (heard.corrupt, found) == ([], {form.encode()})


def test_discovery_finds_what_was_written(folders: Path, tmp_path: Path) -> None:
    run(job(folders, tmp_path / "shards"))
    source, info = discover(tmp_path / "shards")
    assert source.kind == "tfrecords"
    assert (info.train_images, info.validation_images, info.classes) == (12, 6, 2)
    (tmp_path / "shards" / MANIFEST_NAME).unlink()
    assert discover(tmp_path / "shards", classes=2)[1] == info


def test_images_are_shuffled_by_the_seed_alone(folders: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(job(folders, tmp_path / name, seed=seed))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    labels = [f["image/class/label"].int64_list.value[0] for f in records(tmp_path / "a", "train")]
    assert labels != sorted(labels)
    shard = "train-00000-of-00004"
    assert (tmp_path / "a" / shard).read_bytes() != (tmp_path / "c" / shard).read_bytes()


def test_nothing_but_shards_and_manifest_is_left(folders: Path, tmp_path: Path) -> None:
    heard = run(job(folders, tmp_path / "shards"))
    names = [
        *(f"train-{i:05d}-of-00004" for i in range(4)),
        *(f"validation-{i:05d}-of-00002" for i in range(2)),
    ]
    assert sorted(contents(tmp_path / "shards")) == sorted([MANIFEST_NAME, *names])
    assert heard.shards == names
    assert (heard.totals, heard.advanced) == ([(18, 0)], 18)


def test_a_corrupt_image_is_named_and_left_out(folders: Path, tmp_path: Path) -> None:
    bad = folders / "train" / "class1" / "003.jpg"
    cut_off(bad)
    heard = run(job(folders, tmp_path / "shards"))
    assert [path for path, _ in heard.corrupt] == [str(bad)]
    assert "Invalid JPEG" in heard.corrupt[0][1]
    assert heard.advanced == 18
    assert discover(tmp_path / "shards")[1].train_images == 11
    manifest = json.loads((tmp_path / "shards" / MANIFEST_NAME).read_text())
    assert [name for s in manifest["train"] for name in s["corrupt"]] == ["class1/003.jpg"]


def test_corrupt_images_at_both_ends_of_a_shard(folders: Path, tmp_path: Path) -> None:
    run(job(folders, tmp_path / "sound", train_shards=1))
    order = [
        f["image/class/synset"].bytes_list.value[0] + b"/" + f["image/filename"].bytes_list.value[0]
        for f in records(tmp_path / "sound", "train")
    ]
    for name in (order[0], order[5], order[6], order[11]):
        cut_off(folders / "train" / name.decode())
    heard = run(job(folders, tmp_path / "shards", train_shards=1))
    assert len(heard.corrupt) == 4
    left = [f["image/filename"].bytes_list.value[0] for f in records(tmp_path / "shards", "train")]
    assert left == [order[i].split(b"/")[1] for i in (1, 2, 3, 4, 7, 8, 9, 10)]


def test_a_shard_without_any_sound_image_is_a_failure(folders: Path, tmp_path: Path) -> None:
    for path in (folders / "val").rglob("*.jpg"):
        cut_off(path)
    with pytest.raises(RunError, match="no image of validation-00000-of-00002"):
        run(job(folders, tmp_path / "shards"))


def interrupt_at(monkeypatch: pytest.MonkeyPatch, shard: str) -> None:
    """Break off in the middle of a shard, its temporary file half written."""
    write = ShardWriter.write

    def broken(self: ShardWriter, name: str, examples: Any) -> Shard:
        if name == shard:
            (self._destination / f".{name}.0a1b2c3d.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        return write(self, name, examples)

    monkeypatch.setattr(ShardWriter, "write", broken)


@pytest.mark.parametrize(
    "shard", ["train-00000-of-00004", "train-00002-of-00004", "validation-00001-of-00002"]
)
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard: str
) -> None:
    cut_off(folders / "train" / "class0" / "001.jpg")
    expected = run(job(folders, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        interrupt_at(patch, shard)
        with pytest.raises(KeyboardInterrupt):
            run(job(folders, tmp_path / "shards"))
    with pytest.raises(InputError):
        discover(tmp_path / "shards")
    heard = run(job(folders, tmp_path / "shards"))
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")
    assert heard.shards == expected.shards[expected.shards.index(shard) :]
    assert heard.totals[0][1] + heard.advanced == 18


def test_a_finished_shard_that_was_damaged_since_is_written_again(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, "train-00002-of-00004")
        with pytest.raises(KeyboardInterrupt):
            run(job(folders, tmp_path / "shards"))
    (tmp_path / "shards" / "train-00000-of-00004").write_bytes(b"")
    journal = tmp_path / "shards" / JOURNAL_NAME
    journal.write_bytes(journal.read_bytes()[:-9])
    run(job(folders, tmp_path / "shards"))
    run(job(folders, tmp_path / "whole"))
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")


def test_a_run_may_be_interrupted_many_times_and_in_the_middle_of_a_line(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = tmp_path / "shards"
    for shard in ("train-00001-of-00004", "train-00003-of-00004", "validation-00001-of-00002"):
        with monkeypatch.context() as patch:
            interrupt_at(patch, shard)
            with pytest.raises(KeyboardInterrupt):
                run(job(folders, destination))
        with open(destination / JOURNAL_NAME, "ab") as journal:
            journal.write(b'{"name":"train-0')
    heard = run(job(folders, destination))
    assert heard.shards == ["validation-00001-of-00002"]
    run(job(folders, tmp_path / "whole"))
    assert contents(destination) == contents(tmp_path / "whole")


def test_one_that_was_killed_when_all_was_there_leaves_nothing_else(
    folders: Path, tmp_path: Path
) -> None:
    run(job(folders, tmp_path / "shards"))
    expected = contents(tmp_path / "shards")
    (tmp_path / "shards" / JOURNAL_NAME).write_bytes(b"{}")
    run(job(folders, tmp_path / "shards"))
    assert contents(tmp_path / "shards") == expected


def test_a_second_run_has_nothing_to_do(folders: Path, tmp_path: Path) -> None:
    run(job(folders, tmp_path / "shards"))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "shards").iterdir()}
    heard = run(job(folders, tmp_path / "shards"))
    assert heard.shards == [] and heard.advanced == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "shards").iterdir()} == before


@pytest.mark.parametrize("change", [{"seed": 6}, {"train_shards": 3}, {"size": 32}])
@pytest.mark.parametrize("finished", [True, False])
def test_another_job_is_refused(
    folders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, int],
    finished: bool,
) -> None:
    destination = tmp_path / "shards"
    if finished:
        run(job(folders, destination))
    else:
        with monkeypatch.context() as patch:
            interrupt_at(patch, "train-00001-of-00004")
            with pytest.raises(KeyboardInterrupt):
                run(job(folders, destination))
    before = contents(destination)
    with pytest.raises(InputError, match="it holds"):
        run(job(folders, destination, **change))
    assert contents(destination) == before


def test_a_folder_with_something_else_is_refused_and_left_alone(
    folders: Path, tmp_path: Path
) -> None:
    destination = tmp_path / "shards"
    destination.mkdir()
    (destination / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="it is not empty"):
        run(job(folders, destination))
    assert contents(destination) == {"thesis.tex": b"precious"}


@pytest.mark.parametrize("shards", [0, 13])
def test_shard_counts_that_leave_shards_empty_are_refused(
    folders: Path, tmp_path: Path, shards: int
) -> None:
    with pytest.raises(InputError, match=r"--shards.*1 to the number of images, 12"):
        run(job(folders, tmp_path / "shards", train_shards=shards))
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("of_tensorflow", [True, False])
def test_a_full_disk_is_a_failure_that_names_the_folder(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_tensorflow: bool
) -> None:
    text = "No space left on device"
    error = (
        tf.errors.ResourceExhaustedError(None, None, text) if of_tensorflow else OSError(28, text)
    )

    def full(*_: object) -> Shard:
        raise error

    monkeypatch.setattr(ShardWriter, "write", full)
    with pytest.raises(RunError, match=r"shards: No space left on device"):
        run(job(folders, tmp_path / "shards"))


def test_size_shrinks_the_shorter_side_and_leaves_small_images_alone(tmp_path: Path) -> None:
    folders = write_folders(tmp_path / "images", train=1, validation=1, size=32)
    train = folders / "train"
    (train / "class0" / "wide.jpg").write_bytes(encode(draw(96, 201)))
    (train / "class1" / "tall.png").write_bytes(encode(draw(300, 100), "PNG"))
    (train / "class1" / "gray.jpg").write_bytes(encode(Image.fromarray(draw(90, 60)).convert("L")))
    run(job(folders, tmp_path / "shards", train_shards=1, validation_shards=1, size=64))
    found = {}
    for features in records(tmp_path / "shards", "train"):
        encoded = features["image/encoded"].bytes_list.value[0]
        height = features["image/height"].int64_list.value[0]
        width = features["image/width"].int64_list.value[0]
        assert decode_with_pillow(encoded).shape == (height, width, 3)
        name = features["image/filename"].bytes_list.value[0].decode()
        found[name] = (height, width, features["image/format"].bytes_list.value[0])
        if name == "000.jpg":
            assert encoded in {(train / f"class{i}" / name).read_bytes() for i in (0, 1)}
    assert found == {
        "000.jpg": (32, 32, b"JPEG"),
        "wide.jpg": (64, 134, b"JPEG"),
        "tall.png": (192, 64, b"JPEG"),
        "gray.jpg": (90, 60, b"JPEG"),
    }


def test_shrunken_pixels_are_those_of_the_image(tmp_path: Path) -> None:
    folders = write_folders(tmp_path / "images", train=1, validation=1, classes=2, size=128)
    run(job(folders, tmp_path / "shards", train_shards=1, validation_shards=1, size=64))
    for features in records(tmp_path / "shards", "train"):
        label = features["image/class/label"].int64_list.value[0] - 1
        small = decode_with_pillow(features["image/encoded"].bytes_list.value[0]).astype(float)
        original = (folders / "train" / f"class{label}" / "000.jpg").read_bytes()
        whole = decode_with_pillow(original).astype(float)
        average = whole.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        assert abs(small - average).mean() < 3


def test_the_journal_is_closed_and_readable(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, "train-00001-of-00004")
    with pytest.raises(KeyboardInterrupt):
        run(job(folders, tmp_path / "shards"))
    lines = (tmp_path / "shards" / JOURNAL_NAME).read_bytes().splitlines()
    shard = msgspec.json.decode(lines[1], type=Shard)
    written = (tmp_path / "shards" / shard.name).read_bytes()
    assert len(written) == shard.size_bytes
    assert struct.unpack("<Q", written[:8])[0] < len(written)
