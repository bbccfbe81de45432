"""A skip must not hide in CI: HVDTRAIN_REQUIRE turns it into a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROGRAMS

pytestmark = pytest.mark.slow

TESTS = Path(__file__).resolve().parent
INI = "[pytest]\nmarkers =\n    tf: t\n    ranks: r\n    slurm: s\n    browser: b\n"
MARKED = "import pytest\n\n@pytest.mark.ranks\ndef test_needs_mpirun():\n    pass\n"


def run_marked(folder: Path, require: str, test: str = MARKED) -> tuple[int, str]:
    """Run a test, on a PATH with nothing but what is in the folder."""
    shutil.copy(TESTS / "conftest.py", folder)
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_marked.py").write_text(test)
    environ = {**os.environ, "PATH": str(folder), "HVDTRAIN_REQUIRE": require}
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("require", "exit_code", "says"),
    [
        ("", 0, "mpirun not installed"),
        ("tf", 0, "1 skipped"),
        ("tf,ranks", 4, "HVDTRAIN_REQUIRE asks for ranks, but"),
        ("rank", 4, "rank is not one of tf, ranks, slurm, browser"),
    ],
)
def test_what_is_required_may_not_be_skipped(
    tmp_path: Path, require: str, exit_code: int, says: str
) -> None:
    code, said = run_marked(tmp_path, require)
    assert code == exit_code, said
    assert says in said


SKIPPING = """
import pytest

MARKS

@pytest.fixture
def thing():
    pytest.skip("no root")

def test_skips_itself():
    pytest.skip("one processor")

def test_is_skipped_by_its_fixture(thing):
    pass

@pytest.mark.skipif(True, reason="no oneCCL")
def test_is_skipped_by_a_mark():
    pass
"""


@pytest.mark.parametrize(
    ("marks", "require", "outcome"),
    [
        ("", "", "3 skipped"),
        ("", "tf", "3 skipped"),
        ("", "tf,ranks,slurm,browser", "1 failed, 2 errors"),
        ("pytestmark = pytest.mark.tf", "", "3 skipped"),
        ("pytestmark = pytest.mark.tf", "tf", "1 failed, 2 errors"),
        ("pytestmark = pytest.mark.tf", "browser", "3 skipped"),
    ],
)
def test_a_test_may_not_skip_itself_either(
    tmp_path: Path, marks: str, require: str, outcome: str
) -> None:
    for name in (name for programs in PROGRAMS.values() for name in programs):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    code, said = run_marked(tmp_path, require, SKIPPING.replace("MARKS", marks))
    allowed = outcome == "3 skipped"
    assert code == (0 if allowed else 1), said
    assert f" {outcome} in " in said
    assert said.count("allows no skip here") == (0 if allowed else 3)
    assert all(reason in said for reason in ("no root", "one processor", "no oneCCL"))


def test_what_is_not_required_and_not_here_is_still_skipped(tmp_path: Path) -> None:
    marks = "pytestmark = [pytest.mark.tf, pytest.mark.slurm]"
    code, said = run_marked(tmp_path, "tf", SKIPPING.replace("MARKS", marks))
    assert code == 0
    assert " 3 skipped in " in said
