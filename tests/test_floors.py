"""Which part of the package may import which, and how large it may be, read from the source."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvdtrain.cli.main import COMMANDS
from hvdtrain.resources import resource_folder

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hvdtrain"

GROUND = {
    *("errors", "names", "outer_job", "processor", "resources", "search_path", "stack", "units"),
}
# From the ground up. A part imports lower floors and itself, never what stands beside it.
FLOORS: tuple[set[str], ...] = (
    GROUND,
    {"files"},
    {"plan", "staging"},
    {"installation", "machine", "runs"},
    {"checks", "collect", "slurm", "train"},
    {"cli"},
    {"commands"},
)
# The folders of plan, likewise.
PLAN_FLOORS = ("method", "forecast", "machine", "job")
# Of runs, what says how a thing looks and not where it lies.
PURE_RUNS = {
    *("ensemble", "job_identity", "names", "plan_diff", "preflight"),
    *("record", "slurm_job", "state", "submission"),
}
HEAVY = {"horovod", "keras", "mpi4py", "tensorflow"}
# A plan is the same wherever and whenever it is made.
IMPURE = {"datetime", "random", "socket", "subprocess", "time"}
IMPURE_ATTRIBUTES = {"os.environ", "os.getenv"}

# What a reader takes in at once.
MOST_MODULES = 20  # of a folder, without its __init__.py
MOST_LINES = 300  # of a module
MOST_FUNCTION_LINES = 60  # of a function, without its decorators

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def may_import(part: str) -> set[str]:
    """The parts of hvdtrain that a part may import; an empty name is the package itself."""
    if part in {"__init__", "__main__"}:
        return {"cli"} if part == "__main__" else set()
    below = {""}
    for floor in FLOORS:
        if part in floor:
            return below | (floor if part in GROUND else {part})
        below |= floor
    raise AssertionError(f"{part} has no floor")


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def is_breach(module: str, name: str) -> bool:
    """Whether a module may not import a name."""
    part, _, inner = module.removesuffix(".py").partition("/")
    top, _, rest = name.partition(".")
    if top == "hvdtrain":
        target = rest.partition(".")[0].replace("__version__", "")
        return target not in may_import(part) or (part == target == "plan" and climbs(inner, rest))
    if top in HEAVY:
        return part != "train"
    if part in GROUND:
        return top not in sys.stdlib_module_names
    return is_pure(module) and top in IMPURE


def climbs(inner: str, imported: str) -> bool:
    """Whether a module of plan imports a folder of plan above its own."""
    own, other = inner.partition("/")[0], imported.split(".")[1]
    return own != other and PLAN_FLOORS.index(other) >= PLAN_FLOORS.index(own)


def is_pure(module: str) -> bool:
    """Whether a module does the same wherever and whenever it is called."""
    part, _, inner = module.removesuffix(".py").partition("/")
    return part == "plan" or (part == "runs" and inner in PURE_RUNS)


def breaches(module: str, source: str) -> list[str]:
    """What a module imports or uses though its floor forbids it."""
    tree = ast.parse(source)
    found = [name for name in imported_names(tree) if is_breach(module, name)]
    if is_pure(module):
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
        ("errors.py", "from hvdtrain.plan.machine.system import System"),
        ("files/decode.py", "from hvdtrain.plan.method import recipe"),
        ("plan/machine/system.py", "from hvdtrain.slurm import render"),
        ("plan/method/recipe.py", "from hvdtrain.plan.job.request import JobRequest"),
        ("plan/machine/system.py", "from hvdtrain.runs.record import Record"),
        ("runs/record.py", "import time"),
        ("runs/store.py", "from hvdtrain.collect.runs import Run"),
        ("plan/machine/system.py", "def f():\n    import subprocess"),
        ("plan/machine/system.py", "import os\nHOME = os.environ['HOME']"),
        ("slurm/render.py", "import hvdtrain.train.loop"),
        ("slurm/render.py", "from tensorflow.keras import layers"),
        ("collect/runs.py", "from hvdtrain.slurm.client import submit"),
        ("train/loop.py", "from hvdtrain.commands import train"),
        ("commands/train.py", "import horovod.tensorflow as hvd"),
        ("cli/main.py", "from hvdtrain.commands import train"),
    ],
)
def test_a_breach_is_seen(module: str, source: str) -> None:
    assert len(breaches(module, source)) == 1


def test_no_folder_has_more_modules_than_one_reads() -> None:
    folders = Counter(path.parent for path in map(Path, MODULES) if path.name != "__init__.py")
    assert {str(name): size for name, size in folders.items() if size > MOST_MODULES} == {}


def test_no_module_is_longer_than_one_reads() -> None:
    sizes = {module: len((PACKAGE / module).read_text().splitlines()) for module in MODULES}
    assert {module: size for module, size in sizes.items() if size > MOST_LINES} == {}


def long_functions(module: str, source: str) -> list[str]:
    """The functions of a module that are too long, those within others too."""
    return [
        f"{module}: {node.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > MOST_FUNCTION_LINES
    ]


def test_no_function_is_longer_than_one_reads() -> None:
    found = [
        name
        for module in MODULES
        for name in long_functions(module, (PACKAGE / module).read_text())
    ]
    assert found == []


@pytest.mark.parametrize(("lines", "found"), [(59, []), (60, ["a.py: inner"])])
def test_a_long_function_is_seen(lines: int, found: list[str]) -> None:
    body = "        pass\n" * lines
    assert long_functions("a.py", f"class A:\n    @property\n    def inner(self):\n{body}") == found


def test_commands_holds_the_commands_of_the_table_and_nothing_else() -> None:
    modules = [f"commands/{entry.module.replace('.', '/')}.py" for entry in COMMANDS.values()]
    inits = {module for module in MODULES if module.endswith("/__init__.py")}
    assert sorted(modules) == [
        module for module in MODULES if module.startswith("commands/") and module not in inits
    ]
    for module in modules:
        body = ast.parse((PACKAGE / module).read_text()).body
        assert "command" in {n.name for n in body if isinstance(n, ast.FunctionDef)}, module


START = """
import sys
from hvdtrain.cli.main import main
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
        ("sweep {jobs}/sweeps/table-05.toml --dry-run", "| run "),
        ("status --results {results}", ""),
        ("predict --nodes 1536", "| nodes "),
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


def test_the_quick_tests_do_without_it_too(request: pytest.FixtureRequest) -> None:
    # Each process that runs tests imports all their modules, and TensorFlow takes seconds.
    if request.config.getoption("--quick"):
        assert not HEAVY & sys.modules.keys()


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


PROGRAM_STARTERS = {"run", "Popen", "call", "check_call", "check_output"}


def open_inputs(source: str) -> list[int]:
    """Lines that start a program and leave it the standard input of this one."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in PROGRAM_STARTERS
        and ast.unparse(node.func.value) == "subprocess"
        and not {"stdin", "input"} & {keyword.arg for keyword in node.keywords}
    ]


@pytest.mark.parametrize(
    "path", [*PACKAGE.rglob("*.py"), *(ROOT / "scripts").rglob("*.py")], ids=lambda path: path.stem
)
def test_no_program_eats_the_standard_input_of_its_caller(path: Path) -> None:
    source = path.read_text()
    assert open_inputs(source) == []
    assert not re.search(r"os\.(system|popen|spawn\w+|posix_spawn\w*)\(", source)


def test_a_program_that_could_eat_it_is_seen() -> None:
    source = "import subprocess\nsubprocess.run(x)\nsubprocess.Popen(x, stdin=y)\n"
    assert open_inputs(source) == [2]
