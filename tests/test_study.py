"""The study of the method: which runs it makes, and what it writes of them."""

from __future__ import annotations

import pytest

from hvdtrain.files.decode import load_toml
from hvdtrain.plan.method.recipe import load_recipe, make_schedule
from hvdtrain.plan.method.snapshot import SnapshotOrigin
from hvdtrain.runs.ensemble import EnsembleMember
from hvdtrain.runs.record import EpochResult, EvaluationResult, Record
from scripts.study.report import ensemble_lines, report_lines, result_lines, tell
from scripts.study.spec import ROOT, STUDY, Run, Study, runs_of, train_words
from tests.collect.records import make_record
from tests.samples import sample_ensemble


@pytest.fixture(scope="module")
def study() -> Study:
    return load_toml(STUDY / "study.toml", Study)


def test_each_run_is_made_once_with_a_folder_of_its_own(study: Study) -> None:
    runs = runs_of(study)
    assert len({run.run_id for run in runs}) == len(runs)
    # (a) has 2 recipes; (b) adds 2 to one of them; (c) has 4 at 3 batches; (d) has 1. Three seeds.
    assert len(runs) == 3 * (2 + 2 + 4 * 3 + 1)


def test_every_command_trains_the_global_batch_of_its_run(study: Study) -> None:
    for run in runs_of(study):
        words = train_words(study, run, "cifar10", "results")
        options = dict(zip(words[2::2], words[3::2], strict=True))
        passes = int(options["--rank-batch"]) * int(options["--accumulate"])
        assert passes * study.ranks == run.batch
        name = options["--recipe"]
        recipe = load_recipe(str(ROOT / name) if name.endswith(".toml") else name)
        assert make_schedule(recipe, run.batch, max(1, 10_000 // run.batch)).peak_lr > 0


def test_a_batch_that_the_ranks_cannot_share_is_refused(study: Study) -> None:
    run = Run(recipe="warm", batch=300, epochs=1, seed=1)
    with pytest.raises(ValueError, match="300 is no multiple of 2 x 128"):
        train_words(study, run, "cifar10", "results")


def test_mean_spread_and_differences_are_those_of_the_seeds(study: Study) -> None:
    records = {
        **records_of("step-90", (0.30, 0.32, 0.34)),
        **records_of("linear-90", (0.31, 0.35, 0.33)),
    }
    lines = list(result_lines(study, study.experiment[0], records))
    assert lines[2:] == [
        "| 256 | step-90 | 3 | 32.00 | 2.00 | 30.00 32.00 34.00 |  |  | 1.9000 |",
        "| 256 | linear-90 | 3 | 33.00 | 2.00 | 31.00 35.00 33.00 "
        "| +1.00 +3.00 -1.00 | nothing | 1.9000 |",
    ]


def test_a_run_that_diverged_is_told_and_not_averaged(study: Study) -> None:
    records = records_of("step-90", (0.30, 0.32, 0.34))
    gone = "step-90-b256-e12-s2"
    records[gone] = make_record(gone, status="diverged", failure="NaN", epoch_seconds=())
    lines = list(result_lines(study, study.experiment[0], records))
    assert lines[2] == "| 256 | step-90 | 3 | 32.00 | 2.83 | 30.00 diverged 34.00 |  |  | 1.9000 |"


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([(42.0, 37.0), (43.0, 38.0)], "better"),
        ([(37.0, 42.0), (38.0, 43.0)], "worse"),
        # Of the same sign, and within the noise.
        ([(40.5, 40.0), (44.5, 44.0)], "nothing"),
        # Large, and not of the same sign.
        ([(50.0, 40.0), (49.0, 40.0), (39.0, 40.0)], "nothing"),
        ([(42.0, 37.0)], "nothing"),
    ],
)
def test_a_difference_is_told_where_every_seed_has_it_beyond_the_noise(
    pairs: list[tuple[float, float]], told: str
) -> None:
    assert tell(pairs) == told


def test_the_report_counts_the_runs_and_gives_their_commands(study: Study) -> None:
    lines = list(report_lines(study, records_of("step-90", (0.30, 0.32, 0.34)), {}))
    assert lines[2].startswith("3 of 51 runs")
    commands = [line for line in lines if line.startswith("mpirun -n 2 hvdtrain ")]
    # A run each, and for each seed the collapses and their average.
    assert len(commands) == len(set(commands)) == 51 + 2 * 3


def test_an_ensemble_stands_beside_its_models() -> None:
    members = tuple(
        EnsembleMember(
            run_id=f"run-collapse-{number}",
            weights_sha256="0",
            epochs=20,
            origin=SnapshotOrigin(
                run_id="run", snapshot=number, step=9, evaluation=evaluation(0.3)
            ),
            evaluation=evaluation(top1),
        )
        for number, top1 in enumerate((0.40, 0.42, 0.44), start=2)
    )
    ensemble = sample_ensemble(members, evaluation(0.45))
    *_, line = ensemble_lines({3: ensemble})
    assert line == "| 3 | 40.00 42.00 44.00 | 42.00 | 44.00 | 45.00 | +3.00 | +1.00 |"


def evaluation(top1: float) -> EvaluationResult:
    return EvaluationResult(count=2000, top1=top1, top5=0.9, loss=1.9)


def records_of(recipe: str, top1: tuple[float, ...]) -> dict[str, Record]:
    records = {}
    for seed, value in enumerate(top1, start=1):
        run_id = f"{recipe}-b256-e12-s{seed}"
        epoch = EpochResult(
            epoch=12,
            steps=39,
            seconds=3,
            training_loss=1.9,
            learning_rate=0.0,
            evaluation=evaluation(value),
        )
        records[run_id] = make_record(run_id, epochs=(epoch,))
    return records
