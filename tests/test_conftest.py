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


@pytest.mark.parametrize(
    ("marks", "require", "exit_code"),
    [
        ("", "", 0),
        ("", "tf", 0),
        ("", "tf,ranks,slurm,browser", 1),
        ("@pytest.mark.tf", "", 0),
        ("@pytest.mark.tf", "tf", 1),
        ("@pytest.mark.tf", "browser", 0),
        # It may be skipped for what is not required and not here, and there is nothing else.
        ("@pytest.mark.tf\n@pytest.mark.slurm", "tf", 0),
    ],
)
@pytest.mark.parametrize("where", ["test", "fixture", "mark"])
def test_a_test_may_not_skip_itself_either(
    tmp_path: Path, where: str, marks: str, require: str, exit_code: int
) -> None:
    skip = "pytest.skip('one processor')"
    mark = "@pytest.mark.skipif(True, reason='one processor')" if where == "mark" else ""
    test = f"""
import pytest

@pytest.fixture
def thing():
    {skip if where == "fixture" else "pass"}

{marks}
{mark}
def test_it(thing):
    {skip if where == "test" else "pass"}
"""
    if "slurm" not in marks:
        for programs in PROGRAMS.values():
            for name in programs:
                (tmp_path / name).write_text("")
                (tmp_path / name).chmod(0o755)
    code, said = run_marked(tmp_path, require, test)
    assert code == exit_code, said
    assert ("allows no skip here" in said) == bool(exit_code)
    if "slurm" not in marks:
        assert "one processor" in said
