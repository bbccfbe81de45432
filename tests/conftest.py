"""What every test gets, and what is skipped, or not, on a machine that lacks something."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The defaults of whoever runs the tests are none of theirs.
CONFIG = tempfile.TemporaryDirectory(prefix="config.")
os.environ["XDG_CONFIG_HOME"] = CONFIG.name

# HVDTRAIN_REQUIRE=tf,ranks: what those tests need and this machine lacks is a failure, not a skip.
REQUIRE = "HVDTRAIN_REQUIRE"
MODULES = {
    "tf": ("tensorflow",),
    "ranks": ("tensorflow", "horovod", "mpi4py"),
    "slurm": (),
    "browser": ("selenium",),
}
PROGRAMS = {
    "tf": (),
    "ranks": ("mpirun",),
    "slurm": ("munged", "slurmctld", "sbatch"),
    "browser": ("chromium", "chromedriver"),
}

# Marks of what takes long or needs what not every machine has.
HEAVY = (*MODULES, "slow")
_HEAVY_MODULE = re.compile(
    rf"^pytestmark = \[?\s*pytest\.mark\.({'|'.join(HEAVY)})\b", re.MULTILINE
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=f"without {', '.join(HEAVY)}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # A module that is deselected as a whole need not be imported: TensorFlow takes seconds to load.
    if not config.getoption("--quick") or not collection_path.name.startswith("test_"):
        return None
    return True if _HEAVY_MODULE.search(collection_path.read_text()) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--quick"):
        items[:] = [item for item in items if not any(map(item.get_closest_marker, HEAVY))]


def pytest_configure() -> None:
    # In the background of a script SIGINT is ignored, also by every process that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    unknown = required_markers() - MODULES.keys()
    if unknown:
        names = ", ".join(sorted(unknown))
        raise pytest.UsageError(f"{REQUIRE}: {names} is not one of {', '.join(MODULES)}")
    # Before any module is collected: one that imports TensorFlow would skip itself as a whole.
    for marker in sorted(required_markers()):
        if reason := missing(marker):
            raise pytest.UsageError(f"{REQUIRE} asks for {marker}, but {reason}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in MODULES:
        if item.get_closest_marker(marker) is None:
            continue
        if reason := missing(marker):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    # Also what a test or a fixture itself skips for: no root, one processor, no oneCCL.
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not _may_skip(item):
        assert isinstance(report.longrepr, tuple)
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE} allows no skip here. {report.longrepr[2]}"
    return report


def _may_skip(item: pytest.Item) -> bool:
    """Whether a test needs nothing that is required, or something else that is not here."""
    needed = frozenset(filter(item.get_closest_marker, MODULES))
    required = required_markers()
    if not needed:
        return required != MODULES.keys()
    return needed.isdisjoint(required) or any(map(missing, needed - required))


def required_markers() -> frozenset[str]:
    return frozenset(filter(None, os.environ.get(REQUIRE, "").split(",")))


@functools.cache
def missing(marker: str) -> str:
    """What this machine lacks for the tests with this marker; empty when it lacks nothing."""
    # Daemons are in sbin, which is not on everybody's PATH.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    absent = [name for name in MODULES[marker] if importlib.util.find_spec(name) is None]
    absent += [name for name in PROGRAMS[marker] if shutil.which(name, path=path) is None]
    return f"{', '.join(absent)} not installed" if absent else ""
