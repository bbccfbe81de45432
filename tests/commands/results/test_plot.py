"""`hvdtrain plot` from the outside: the files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hvdtrain.commands.results.plot import command
from hvdtrain.errors import InputError, RunError
from tests.collect.records import make_record, make_test_plan, write_metrics, write_record
from tests.collect.report.samples import epochs, metrics

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    plan = make_test_plan()
    record = make_record("run_$1$_a", plan=plan, epochs=epochs(85.0, 3, plan))
    folder = write_record(tmp_path / "results", record).parent
    write_metrics(folder, metrics(plan, 30))
    return tmp_path / "results"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "ending"),
    [
        (("scaling", "results"), "svg"),
        (("scaling",), "pdf"),
        (("schedule", "large-batch-107", "--global-batch", "65536"), "png"),
        (("accuracy", "results"), "svg"),
        (("timeline", "results/run_$1$_a"), "png"),
    ],
)
def test_a_figure_goes_to_its_file_and_nothing_to_stdout(
    results: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], ending: str
) -> None:
    monkeypatch.chdir(results.parent)
    monkeypatch.delenv("DISPLAY", raising=False)
    path = Path(f"figure.{ending}")
    result = invoke(*words, "-o", path)
    assert result.stdout == ""
    assert result.stderr == f"hvdtrain: wrote {path}\n"
    assert path.read_bytes().startswith(MAGIC[ending])
    assert sorted(entry.name for entry in Path().iterdir()) == [path.name, "results"]


@pytest.mark.slow
def test_the_runs_own_points_are_named_in_the_drawing(results: Path, tmp_path: Path) -> None:
    import matplotlib

    path = tmp_path / "accuracy.svg"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        invoke("accuracy", results, "-o", path)
    text = path.read_text()
    assert "run_$1$_a (measured)" in text, "a name is no formula"
    assert "paper, Fig. 4: targets" in text


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("scaling", "nowhere", "-o", "x.png"), "RESULTS"),
        (("accuracy", "nowhere", "-o", "x.png"), "RESULTS"),
        (("timeline", "nowhere", "-o", "x.png"), "RUN"),
        (("schedule", "nope", "--global-batch", "256", "-o", "x.png"), "RECIPE"),
        (("scaling", "-o", "x.doc"), "--output"),
        (("scaling", "-o", "x"), "--output"),
        (("scaling", "-o", "missing/x.png"), "--output"),
    ],
)
def test_the_impossible_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], field: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        invoke(*words)
    assert caught.value.field == field
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_record_that_cannot_be_read_is_named_and_the_figure_is_drawn(
    results: Path, tmp_path: Path
) -> None:
    write_record(results, make_record("bad")).write_text("{")
    with pytest.raises(RunError, match="1 of 2 runs were skipped"):
        invoke("scaling", results, "-o", tmp_path / "x.png")
    assert (tmp_path / "x.png").exists()


@pytest.mark.parametrize("name", ["", "scaling", "schedule", "accuracy", "timeline"])
def test_the_help_ends_with_an_example(name: str) -> None:
    words = [name] if name else []
    last = invoke(*words, "--help").stdout.rstrip().splitlines()
    assert "Example:" in [line.strip() for line in last[-3:]]
