"""Which part of the package may import which, read from the source."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvdtrain.resources import resource_folder

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hvdtrain"

GROUND = {"errors", "processor", "resources", "stack", "units"}
MIDDLE = {"checks", "collect", "slurm", "staging", "train"}
HEAVY = {"horovod", "keras", "mpi4py", "tensorflow"}
# A plan is the same wherever and whenever it is made.
IMPURE = {"datetime", "random", "socket", "subprocess", "time"}
IMPURE_ATTRIBUTES = {"os.environ", "os.getenv"}

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def may_import(part: str) -> set[str]:
    """The parts of hvdtrain that a part may import; an empty name is the package itself."""
    if part in GROUND:
        return {"", *GROUND}
    if part in {"plan", "machine"}:
        return {"", *GROUND, "plan", part}
    if part in MIDDLE:
        return {"", *GROUND, "plan", "machine", part}
    if part == "commands":
        return {"", *GROUND, *MIDDLE, "plan", "machine", part}
    return {"__init__": set(), "__main__": {"cli"}, "cli": {"", "errors"}}[part]


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def is_breach(part: str, name: str) -> bool:
    """Whether a part may not import a name."""
    top, _, rest = name.partition(".")
    if top == "hvdtrain":
        return rest.partition(".")[0].replace("__version__", "") not in may_import(part)
    if top in HEAVY:
        return part != "train"
    if part in GROUND:
        return top not in sys.stdlib_module_names
    return part == "plan" and top in IMPURE


def breaches(module: str, source: str) -> list[str]:
    """What a module imports or uses though its floor forbids it."""
    tree = ast.parse(source)
    part = module.partition("/")[0].removesuffix(".py")
    found = [name for name in imported_names(tree) if is_breach(part, name)]
    if part == "plan":
        used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        found += sorted(used & IMPURE_ATTRIBUTES)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_module_stays_on_its_floor(module: str) -> None:
    assert breaches(module, (PACKAGE / module).read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("units.py", "import msgspec"),
        ("errors.py", "from hvdtrain.plan.system import System"),
        ("plan/system.py", "from hvdtrain.slurm import render"),
        ("plan/system.py", "def f():\n    import subprocess"),
        ("plan/system.py", "import os\nHOME = os.environ['HOME']"),
        ("slurm/render.py", "import hvdtrain.train.loop"),
        ("slurm/render.py", "from tensorflow.keras import layers"),
        ("collect/store.py", "from hvdtrain.slurm.client import submit"),
        ("train/loop.py", "from hvdtrain.commands import train"),
        ("commands/train.py", "import horovod.tensorflow as hvd"),
        ("cli.py", "from hvdtrain.commands import train"),
    ],
)
def test_a_breach_is_seen(module: str, source: str) -> None:
    assert len(breaches(module, source)) == 1


START = """
import sys
from hvdtrain.cli import main
try:
    main()
finally:
    print("loaded:", *sorted({module.partition(".")[0] for module in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("render-job --nodes 1536", "#!"),
        ("submit --nodes 1536 --dry-run", "#!"),
        ("sweep {jobs}/sweeps/table-05.toml --dry-run", "run "),
        ("status --results {results}", ""),
        ("predict --nodes 1536", "nodes"),
        ("cancel --all --results {results}", ""),
        ("report {results} -o -", "<!DOCTYPE html>"),
        ("stage remove {results}/nothing", ""),
    ],
)
def test_it_starts_without_the_training_stack(words: str, out: str, tmp_path: Path) -> None:
    words = words.format(jobs=resource_folder("jobs"), results=tmp_path)
    command = [sys.executable, "-c", START, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(out)
    loaded = done.stderr.partition("loaded: ")[2].split()
    assert "hvdtrain" in loaded
    assert not {*HEAVY, "matplotlib", "numpy"} & set(loaded)


@pytest.mark.slow
def test_a_figure_is_drawn_without_the_training_stack(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START, "plot", "scaling", "-o", str(tmp_path / "figure.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    loaded = done.stderr.partition("loaded: ")[2].split()
    assert "matplotlib" in loaded
    assert not HEAVY & set(loaded)


def test_a_jobs_shell_does_not_wait_for_the_training_stack(tmp_path: Path) -> None:
    words = ["attempt", "begin", "--results", str(tmp_path), "--run-id", "run"]
    done = subprocess.run(
        [sys.executable, "-c", START, *words],
        env={**os.environ, "SLURM_JOB_ID": "7"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stderr.partition("loaded: ")[2].split())
