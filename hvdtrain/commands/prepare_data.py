"""`hvdtrain prepare-data`: TFRecord shards from image folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hvdtrain.cli.output import print_json, print_text
from hvdtrain.cli.path_type import PathType
from hvdtrain.errors import RunError

if TYPE_CHECKING:
    from hvdtrain.train.data.manifest import Manifest, Shard

# ImageNet is usually kept as 1024 training and 128 validation shards.
_TRAIN_SHARDS_PER_VALIDATION_SHARD = 8
_SMALLEST_SIZE = 32


class Reporter:
    """Tells a person how far it is: a bar on a terminal, a line for each shard elsewhere.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self.bar.add_task("images", total=None)

    def start(self, images: int, earlier: int) -> None:
        """Show the total, and what an interrupted run has left to this one."""
        self.bar.update(self._task, total=images, completed=earlier)
        if earlier:
            self.say(f"going on behind {earlier} of {images} images")

    def advance(self, images: int) -> None:
        """Move the bar."""
        self.bar.advance(self._task, images)

    def finish(self, shard: Shard) -> None:
        """Name a finished shard in a log."""
        if not self._console.is_terminal:
            self.say(f"{shard.name}: {shard.images} images, {shard.size_bytes} bytes")

    def name_corrupt(self, path: str, reason: str) -> None:
        """Name an image that is left out."""
        self.say(f"corrupt image left out: {path}: {reason}")

    def say(self, text: str) -> None:
        """A line for people."""
        self._console.print(f"hvdtrain: {text}", markup=False, highlight=False, soft_wrap=True)


@click.command(
    epilog="\b\nExample:\n  hvdtrain prepare-data imagenet shards --shards 1024 --size 256"
)
@click.argument("source", type=PathType())
@click.argument("dest", type=PathType())
@click.option("--shards", type=click.IntRange(min=1), required=True, help="Training shards.")
@click.option(
    "--validation-shards",
    type=click.IntRange(min=1),
    help="Default: one for eight training shards.",
)
@click.option(
    "--size",
    type=click.IntRange(min=_SMALLEST_SIZE),
    help="Shrink larger images to this many pixels on the shorter side. ImageNet then takes about "
    "40 GB and fits beside the training into the memory of a node; its files take about 150 GB.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Of the shuffle.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def command(
    source: Path,
    dest: Path,
    shards: int,
    validation_shards: int | None,
    size: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Write TFRecord shards into the folder DEST from the images in the folder SOURCE.

    SOURCE holds train/ and val/, each with one folder of images per class. The images keep their
    bytes unless --size is given, and are shuffled. An interrupted run goes on where it stopped
    when the command is repeated. An image that cannot be decoded is named and left out; the exit
    code is then 1.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from hvdtrain.train.data.prepare import PrepareJob, prepare
    from hvdtrain.train.data.shardwriter import Progress as Hooks

    default = max(1, shards // _TRAIN_SHARDS_PER_VALIDATION_SHARD)
    job = PrepareJob(
        source=source,
        destination=dest,
        train_shards=shards,
        validation_shards=validation_shards or default,
        seed=seed,
        size=size,
    )
    reporter = Reporter(Console(stderr=True))
    progress = Hooks(
        started=reporter.start,
        advanced=reporter.advance,
        finished=reporter.finish,
        corrupt=reporter.name_corrupt,
        unread=reporter.say,
    )
    with reporter.bar:
        manifest = prepare(job, progress)
    _finish(manifest, dest, as_json)


def _finish(manifest: Manifest, dest: Path, as_json: bool) -> None:
    everything = (*manifest.train, *manifest.validation)
    splits = {"train": manifest.train, "val": manifest.validation}
    corrupt = [
        f"{split}/{name}"
        for split, shards in splits.items()
        for shard in shards
        for name in shard.corrupt
    ]
    summary = {
        "path": str(dest),
        "train_images": sum(shard.images for shard in manifest.train),
        "train_shards": len(manifest.train),
        "validation_images": sum(shard.images for shard in manifest.validation),
        "validation_shards": len(manifest.validation),
        "classes": len(manifest.classes),
        "bytes": sum(shard.size_bytes for shard in everything),
        "corrupt": corrupt,
    }
    if as_json:
        print_json(summary)
    else:
        print_text(
            f"{dest}: training images: {summary['train_images']} (shards: {len(manifest.train)}), "
            f"validation images: {summary['validation_images']} "
            f"(shards: {len(manifest.validation)}), classes: {len(manifest.classes)}, "
            f"bytes: {summary['bytes']}\n"
        )
    if corrupt:
        raise RunError(
            "corrupt images were left out:\n  " + "\n  ".join(corrupt),
            "repair or remove them, and give another folder",
        )
