"""What a person reads of a preflight, and that it takes every option of the training."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from hvdtrain.commands.job.preflight import command, show_report
from hvdtrain.commands.train import command as train
from hvdtrain.runs.preflight import Fault, Preflight, SlowNode
from hvdtrain.train.options import TrainOptions
from tests.samples import sample_preflight


def said(report: Preflight, capsys: pytest.CaptureFixture[str]) -> str:
    show_report(report)
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_a_good_report(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(sample_preflight(), capsys)
    assert "preflight: 2 ranks on 2 nodes, started by Slurm" in text
    assert "allreduce over CCL: ring (CCL_ALLREDUCE=ring)" in text
    # Two ranks: each sends what it has once. 2^20 bytes in half a second.
    assert "1 MB     500.00 ms    0.002 GB/s" in text
    assert "rank 1 on n2: compute 0-63; communication 64; Horovod 64" in text
    assert text.endswith("preflight: fine\n")


def test_a_fault_a_slow_node_and_what_to_exclude(capsys: pytest.CaptureFixture[str]) -> None:
    fault = Fault(check="data", text="other data: rank 1 on n2", fix="same files", hosts=("n2",))
    report = sample_preflight(
        faults=(fault,),
        slow=(SlowNode(host="n2", what="memory", ratio=2.0),),
        exclude="--exclude=n2",
    )
    text = said(report, capsys)
    assert "slow node: n2: memory takes 2.00 times the median of the others" in text
    assert "hvdtrain: data: other data: rank 1 on n2\n  fix: same files\n" in text
    assert "for the next job: sbatch --exclude=n2\n" in text
    assert text.endswith("preflight: no training\n")


def test_thousands_of_ranks_stay_short(capsys: pytest.CaptureFixture[str]) -> None:
    place = sample_preflight().placement[0]
    text = said(sample_preflight(placement=(place,) * 1536), capsys)
    assert "and 1520 more in preflight.json" in text
    assert len(text.splitlines()) < 30


def test_without_a_core_map_nothing_is_attested(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no core map" in said(sample_preflight(placement=(), attested=False), capsys)


def test_it_takes_the_options_of_train() -> None:
    names = {parameter.name for parameter in command.params}
    assert {parameter.name for parameter in train.params} < names
    assert set(TrainOptions.__struct_fields__) <= names


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--deadline", "1"), "--deadline"),
        (("--model", "large"), "--model"),
        (("--nodes", "0"), "--nodes"),
    ],
)
def test_wrong_options_are_refused(words: tuple[str, ...], expected: str) -> None:
    result = CliRunner().invoke(command, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert expected in result.stderr
