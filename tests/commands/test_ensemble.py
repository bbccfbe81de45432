"""`hvdtrain collapse` and `hvdtrain ensemble` from the outside, before any rank does anything."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hvdtrain.collect.tables.formats import format_tables
from hvdtrain.commands import collapse, ensemble
from hvdtrain.plan.method.snapshot import EvaluationResult, SnapshotOrigin
from hvdtrain.runs.ensemble import EnsembleMember
from tests.samples import sample_ensemble


def test_the_table_is_table_11() -> None:
    snapshot = EvaluationResult(count=50_000, top1=0.6833, top5=0.8871, loss=1.2835)
    collapsed = EvaluationResult(count=50_000, top1=0.7550, top5=0.9283, loss=0.9740)
    member = EnsembleMember(
        run_id="run-collapse-1",
        weights_sha256="",
        epochs=48,
        origin=SnapshotOrigin(run_id="run", snapshot=1, step=14_040, evaluation=snapshot),
        evaluation=collapsed,
    )
    made = sample_ensemble((member,), collapsed)
    assert format_tables([ensemble.make_table(made)], "md").splitlines() == [
        "| number   | run            |   loss | top-1 % | top-5 % |",
        "| -------- | -------------- | -----: | ------: | ------: |",
        "| 1        | run            | 1.2835 |   68.33 |   88.71 |",
        "| 1c       | run-collapse-1 | 0.9740 |   75.50 |   92.83 |",
        "| ensemble |                | 0.9740 |   75.50 |   92.83 |",
    ]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (collapse.command, ["nowhere"]),
        (collapse.command, []),
        (collapse.command, [".", "--snapshot", "0"]),
        (collapse.command, [".", "--run-id", "../elsewhere"]),
        (ensemble.command, ["nowhere"]),
        (ensemble.command, []),
    ],
)
def test_wrong_input_is_refused(
    command: click.Command, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hvdtrain.stack.ensure_stack", lambda: None)
    ended = CliRunner().invoke(command, words)
    assert ended.stdout == ""
    assert getattr(ended.exception, "exit_code", ended.exit_code) == 2
    assert list(tmp_path.iterdir()) == []
