"""A skip must not hide in CI: HVDTRAIN_REQUIRE turns it into a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TESTS = Path(__file__).resolve().parent
INI = "[pytest]\nmarkers =\n    tf: t\n    ranks: r\n    slurm: s\n    browser: b\n"
MARKED = "import pytest\n\n@pytest.mark.ranks\ndef test_needs_mpirun():\n    pass\n"


def run_marked(folder: Path, require: str) -> tuple[int, str]:
    """Run a test that needs ranks, on a PATH without mpirun."""
    shutil.copy(TESTS / "conftest.py", folder)
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_marked.py").write_text(MARKED)
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
