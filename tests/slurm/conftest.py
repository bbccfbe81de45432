"""One munge daemon for all tests, and one controller for each system that a test asks about."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvdtrain.plan.machine.system import load_system
from tests.slurm.cluster import PATH, Cluster, start_cluster, start_munge
from tests.slurm.nodes import Nodes, missing_namespaces, start_nodes


@pytest.fixture(scope="session")
def munge() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("a Slurm of the tests' own must be started by root")
    with start_munge() as socket:
        yield socket


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, munge: Path) -> Iterator[Cluster]:
    """A controller with the shape of the system that is the parameter."""
    with start_cluster(load_system(request.param), munge) as running:
        yield running


@pytest.fixture(scope="module")
def nodes(munge: Path) -> Iterator[Nodes]:
    """A Slurm on which jobs run."""
    if not shutil.which("slurmd", path=PATH):
        pytest.skip("slurmd not installed")
    if reason := missing_namespaces():
        pytest.skip(reason)
    with start_nodes(munge) as running:
        yield running
