"""One munge daemon for all tests, and one controller for each system that a test asks about."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hvdtrain.plan.system import load_system
from tests.conftest import required_markers
from tests.slurm.cluster import Cluster, start_cluster, start_munge


@pytest.fixture(scope="session")
def unavailable() -> Callable[[str], None]:
    """Skips the test with a reason, or fails it where Slurm is required."""
    return pytest.fail if "slurm" in required_markers() else pytest.skip


@pytest.fixture(scope="session")
def munge(unavailable: Callable[[str], None]) -> Iterator[Path]:
    if os.geteuid() != 0:
        unavailable("a Slurm of the tests' own must be started by root")
    with start_munge() as socket:
        yield socket


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, munge: Path) -> Iterator[Cluster]:
    """A controller with the shape of the system that is the parameter."""
    with start_cluster(load_system(request.param), munge) as running:
        yield running
