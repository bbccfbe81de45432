"""A wheel made without a network holds everything, and its command runs without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
# Folder of the checkout and where the wheel carries it.
CARRIED = {
    "hvdtrain/systems": "hvdtrain/systems",
    "hvdtrain/recipes": "hvdtrain/recipes",
    "hvdtrain/collect/paper": "hvdtrain/collect/paper",
    "hvdtrain/collect/report/templates": "hvdtrain/collect/report/templates",
    "templates": "hvdtrain/templates",
    "jobs": "hvdtrain/jobs",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.glob("hvdtrain-*.whl")
    return path


def pip(verb: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", verb, "--no-index", "--no-deps", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("folder", "carried"), CARRIED.items())
def test_holds_every_file_of_a_data_folder(wheel: Path, folder: str, carried: str) -> None:
    files = [
        path
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    ]
    wanted = {f"{carried}/{path.relative_to(ROOT / folder).as_posix()}" for path in files}
    assert wanted
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_tells_type_checkers_that_it_is_typed(wheel: Path) -> None:
    assert "hvdtrain/py.typed" in zipfile.ZipFile(wheel).namelist()


def test_holds_nothing_but_the_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"hvdtrain"}
    assert not [name for name in names if "__pycache__" in name]


def test_its_command_runs_far_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    pip("install", "--target", str(tmp_path / "site"), str(wheel))
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def run(*command: str) -> str:
        return subprocess.run(
            command,
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    script = str(tmp_path / "site/bin/hvdtrain")
    place = run(sys.executable, "-c", "import hvdtrain; print(hvdtrain.__file__)")
    assert place.strip() == str(tmp_path / "site/hvdtrain/__init__.py")
    assert "stampede2-knl" in run(script, "systems")
    assert run(script, "render-job", "--nodes", "1").startswith("#!")
