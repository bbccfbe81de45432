"""The commands that faults happen to: what they start from, and what they must have left."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hvdtrain.files.decode import load_json
from hvdtrain.runs.ensemble import Ensemble, EnsembleMember
from hvdtrain.runs.names import ENSEMBLE_FILE
from hvdtrain.runs.record import EvaluationResult
from tests.faults.warm import Done, Order, WarmProcess, warm_process
from tests.ranks import run_ranks
from tests.small_run import (
    OFTEN,
    PHASES,
    assert_same,
    assert_same_results,
    read_losses,
    read_snapshots,
    train_words,
    write_images,
)

SHARDS = "shards"


@dataclass(frozen=True)
class Undisturbed:
    """A command that nothing happened to.

    Attributes:
        results: What it has left.
        seconds: How long it took.
        syncs: Calls of fsync that it made.
    """

    results: Path
    seconds: float
    syncs: int


class Bench:
    """Images, a warm process, and what each command leaves when nothing happens to it.

    Args:
        folder: For all of it.
        warm: Runs the commands.
    """

    def __init__(self, folder: Path, warm: WarmProcess) -> None:
        self._folder = folder
        self.warm = warm
        self.images = write_images(folder / "images")

    @functools.cache  # noqa: B019 - lives as long as the module
    def undisturbed(self, command: str) -> Undisturbed:
        """What a command leaves as one process."""
        results = self._folder / command
        done = self.start(command, self.prepare(command, results))
        assert done.exit_code == 0, done.stderr
        if command == "train":
            assert len(read_snapshots(results / "run")) == len(PHASES)
        return Undisturbed(results, done.seconds, done.syncs)

    @functools.cache  # noqa: B019
    def undisturbed_ranks(self) -> Path:
        """The folder of a training on two ranks."""
        results = self._folder / "ranks"
        run_ranks(["-m", "hvdtrain", *self.words("train", results)], results / "out")
        return results / "run"

    def prepare(self, command: str, results: Path) -> Path:
        """A results folder with what the command starts from."""
        results.mkdir(parents=True, exist_ok=True)
        if command == "collapse":
            shutil.copytree(self.undisturbed("train").results / "run", results / "run")
        if command == "ensemble":
            for number in (1, 2):
                name = f"run-collapse-{number}"
                shutil.copytree(self.undisturbed("collapse").results / name, results / name)
        return results

    def words(self, command: str, results: Path) -> list[str]:
        """The command, without the program."""
        match command:
            case "train":
                return train_words(self.images, results, *OFTEN)
            case "collapse":
                return ["collapse", str(results / "run"), *OFTEN]
            case "ensemble":
                return ["ensemble", *(str(results / f"run-collapse-{n}") for n in (1, 2))]
            case _:
                shards = ["--shards", "6", "--validation-shards", "2"]
                return ["prepare-data", str(self.images), str(results / SHARDS), *shards]

    def start(self, command: str, results: Path, **faults: object) -> Done:
        """Run a command as one process. Whatever happened to it, it has said what to do."""
        words = tuple(self.words(command, results))
        output = str(self._folder / "out")
        done = self.warm.run(Order(words=words, output=output, **faults))  # type: ignore[arg-type]
        assert_told(done.exit_code, done.stderr)
        return done


def assert_told(exit_code: int, said: str) -> None:
    """Raise unless a start that failed, and was not killed, says in words what to do."""
    assert "Traceback" not in said, said
    assert exit_code <= 0 or "\n  fix: " in said, said


@contextmanager
def open_bench(folder: Path) -> Iterator[Bench]:
    with warm_process(folder) as warm:
        yield Bench(folder, warm)


def assert_nothing_lost(
    command: str, results: Path, undisturbed: Path, *, metrics: bool = True
) -> None:
    """Raise unless a command that has come to its end has left what it would have left.

    Args:
        command: Which.
        results: Of the command.
        undisturbed: The results of one that nothing happened to.
        metrics: Whether the metrics are whole, too; otherwise lines of them were taken away.
    """
    match command:
        case "train":
            assert_same_run(results / "run", undisturbed / "run", metrics)
        case "collapse":
            for number in range(1, len(PHASES) + 1):
                name = f"run-collapse-{number}"
                assert_same_run(results / name, undisturbed / name, metrics)
        case "ensemble":
            assert read_ensembles(results)[-1:] == read_ensembles(undisturbed)
        case _:
            assert read_shards(results) == read_shards(undisturbed)


def assert_same_run(folder: Path, undisturbed: Path, metrics: bool) -> None:
    if metrics:
        assert_same(folder, undisturbed)
        return
    assert_same_results(folder, undisturbed)
    expected = iter(read_losses(undisturbed))
    assert all(line in expected for line in read_losses(folder))


def read_ensembles(results: Path) -> list[tuple[tuple[EnsembleMember, ...], EvaluationResult]]:
    found = [load_json(path, Ensemble) for path in sorted(results.glob(f"*/{ENSEMBLE_FILE}"))]
    return [(ensemble.members, ensemble.evaluation) for ensemble in found]


def read_shards(results: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (results / SHARDS).iterdir()}


def assert_all_whole(results: Path) -> None:
    """Raise if a file is half written, or left beside its place."""
    assert not list(results.rglob("*.partial"))
    for path in results.rglob("*.json"):
        json.loads(path.read_text())
