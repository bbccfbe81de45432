from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.stack import RESTART_MARK, stack_variables

SHOW = """
import json, os, sys
from hvdtrain.stack import ensure_stack
before = os.environ.get("LD_LIBRARY_PATH", "")
ensure_stack()
print(json.dumps([os.getpid(), sys.argv[1:], before, dict(os.environ)]))
"""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An environment with Intel MPI and oneCCL, as the set-up leaves it."""
    for folder in ("bin", "lib/libfabric/prov", "oneccl/lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bin/mpirun").touch()
    (tmp_path / "lib/libmpi.so.12").touch()
    return tmp_path


def test_oneccl_comes_before_the_library_folder_that_holds_its_broken_twin(prefix: Path) -> None:
    path = stack_variables(prefix, {})["LD_LIBRARY_PATH"].split(":")
    assert path == [f"{prefix}/oneccl/lib", f"{prefix}/lib", f"{prefix}/lib/libfabric"]


def test_names_the_mpi_of_the_environment_whatever_a_module_has_set(prefix: Path) -> None:
    site = {
        "I_MPI_ROOT": "/opt/intel/mpi",
        "FI_PROVIDER_PATH": "/opt/intel/prov",
        "PATH": "/opt/intel/mpi/bin:/usr/bin",
        "LD_LIBRARY_PATH": "/opt/intel/mpi/lib",
    }
    variables = stack_variables(prefix, site)
    assert variables["I_MPI_ROOT"] == str(prefix)
    assert variables["FI_PROVIDER_PATH"] == f"{prefix}/lib/libfabric/prov"
    assert variables["CCL_ROOT"] == f"{prefix}/oneccl"
    assert variables["PATH"] == f"{prefix}/bin:/opt/intel/mpi/bin:/usr/bin"
    assert variables["LD_LIBRARY_PATH"].endswith("/lib/libfabric:/opt/intel/mpi/lib")


def test_leaves_the_environment_of_a_site_mpi_alone(tmp_path: Path) -> None:
    assert stack_variables(tmp_path, {"I_MPI_ROOT": "/opt/intel/mpi"}) == {}


def test_an_mpirun_of_another_mpi_is_not_taken_for_intel_mpi(prefix: Path) -> None:
    (prefix / "lib/libmpi.so.12").unlink()
    assert stack_variables(prefix, {}).keys() == {"CCL_ROOT", "LD_LIBRARY_PATH"}


def test_an_unset_path_still_finds_the_programs_of_the_system(prefix: Path) -> None:
    assert stack_variables(prefix, {})["PATH"] == f"{prefix}/bin:{os.defpath}"


PATHS = st.lists(st.sampled_from(["", "/a", "/b", "PREFIX/lib", "PREFIX/bin"]), max_size=6)


@given(library_path=PATHS, path=PATHS)
def test_applied_twice_is_applied_once(
    tmp_path_factory: pytest.TempPathFactory, library_path: list[str], path: list[str]
) -> None:
    """A process that is started again must find nothing left to change: it would never run."""
    prefix = tmp_path_factory.getbasetemp() / "twice"
    for folder in ("bin", "lib/libfabric", "oneccl/lib"):
        (prefix / folder).mkdir(parents=True, exist_ok=True)
    (prefix / "bin/mpirun").touch()
    (prefix / "lib/libmpi.so.12").touch()
    environ = {
        "LD_LIBRARY_PATH": ":".join(library_path).replace("PREFIX", str(prefix)),
        "PATH": ":".join(path).replace("PREFIX", str(prefix)),
    }
    once = {**environ, **stack_variables(prefix, environ)}
    assert {**once, **stack_variables(prefix, once)} == once


def run_show(environ: dict[str, str]) -> tuple[int, list[str], str, dict[str, str], int]:
    command = [sys.executable, "-c", SHOW, "two words", "--flag"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    pid, arguments, before, after = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 0
    return pid, arguments, before, after, process.pid


@pytest.mark.ranks
def test_a_process_of_a_clean_shell_starts_again_with_the_stack() -> None:
    pid, arguments, before, after, started = run_show({"PATH": "/usr/bin:/bin", "HOME": "/tmp"})
    wanted = stack_variables(Path(sys.prefix), {"PATH": "/usr/bin:/bin"})
    assert {name: after[name] for name in wanted} == wanted
    assert arguments == ["two words", "--flag"]
    assert before == wanted.get("LD_LIBRARY_PATH", "")
    assert pid == started


def test_a_process_with_the_stack_goes_on_as_it_is() -> None:
    environ = {**os.environ, **stack_variables(Path(sys.prefix), os.environ)}
    environ.pop(RESTART_MARK, None)
    assert RESTART_MARK not in run_show(environ)[3]
