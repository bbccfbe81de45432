"""Modules in the user's folders do not replace those that were installed with hvdtrain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvdtrain.checks.ranks import check_tensorflow
from hvdtrain.search_path import installed_first

ROOT = Path(__file__).resolve().parent.parent.parent
STRAY = ("click", "horovod", "jinja2", "msgspec", "numpy", "rich", "tensorflow", "tomllib")


@pytest.fixture
def strays(tmp_path: Path) -> Path:
    folder = tmp_path / "strays"
    folder.mkdir()
    for name in STRAY:
        (folder / f"{name}.py").write_text("raise SystemExit('a stray module was imported')")
    return folder


def run(folder: Path, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        env={**os.environ, **environ},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("systems",),
        ("render-job", "--nodes=2", "--data=/x"),
        ("collect", "."),
        ("schedule", "linear-90", "--json"),
        ("status",),
    ],
    ids=lambda words: words[0],
)
def test_stray_modules_change_nothing(strays: Path, words: tuple[str, ...]) -> None:
    environ = {"PYTHONPATH": f"{strays}{os.pathsep}{ROOT}", "COLUMNS": "80"}
    command = (sys.executable, "-m", "hvdtrain", *words)
    done = run(strays, environ, *command)
    undisturbed = run(
        strays, {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}, *command[:1], "-P", *command[1:]
    )
    assert (done.returncode, done.stdout) == (undisturbed.returncode, undisturbed.stdout)
    assert "stray" not in done.stderr


def test_the_program_itself(strays: Path) -> None:
    program = Path(sys.executable).with_name("hvdtrain")
    if not program.is_file():
        pytest.skip("hvdtrain is not installed beside this Python")
    done = run(strays, {"PYTHONPATH": str(strays)}, str(program), "systems")
    assert done.returncode == 0
    assert "stampede2-knl" in done.stdout


@pytest.mark.tf
@pytest.mark.ranks
@pytest.mark.timeout(300)
def test_the_ranks(strays: Path) -> None:
    words = ("dry-run", "--model", "small", "--batch", "4", "--steps", "2", "--ranks", "2")
    environ = {"PYTHONPATH": f"{strays}{os.pathsep}{ROOT}"}
    done = run(strays, environ, sys.executable, "-m", "hvdtrain", *words)
    assert done.returncode == 0, done.stderr
    assert "stray" not in done.stderr


@pytest.mark.tf
def test_the_doctor_asks_the_same_modules(strays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(strays))
    monkeypatch.chdir(strays)
    assert check_tensorflow().status == "ok"


def test_the_installation_comes_first_and_the_rest_keeps_its_order() -> None:
    library = os.path.dirname(os.__file__)
    packages = next(folder for folder in sys.path if folder.endswith("site-packages"))
    given = ["/b", f"{library}/lib-dynload", "/a", library, packages, "/lib/python311.zip", ""]
    assert installed_first(given) == [
        f"{library}/lib-dynload",
        library,
        packages,
        "/lib/python311.zip",
        "/b",
        "/a",
        "",
    ]
