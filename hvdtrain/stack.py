"""The MPI, oneCCL and ITEX that the set-up put beside Python: where they are, what they need.

The set-up builds Horovod against libraries that live inside the virtual environment. The dynamic
linker reads its path once, when a process starts, so a process that will load them must be
started with it. Nobody should have to type that path, nor should the modules that happen to be
loaded in a shell decide which of two MPI libraries a rank gets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

RESTART_MARK = "HVDTRAIN_RESTARTED"


def stack_variables(prefix: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process needs to load the stack installed under `prefix`.

    Only what exists is named: with a site's own MPI nothing of Intel MPI is set, and the site's
    environment stays as it is. Applied twice, the result is the same as applied once.

    Args:
        prefix: The virtual environment (`sys.prefix`).
        environ: The present environment; its paths are kept, behind the new ones.

    Returns:
        Variable to value; empty when the environment holds neither MPI nor oneCCL.
    """
    variables: dict[str, str] = {}
    library_folders = []
    oneccl = prefix / "oneccl"
    if (oneccl / "lib").is_dir():
        # Before <prefix>/lib, where a libccl.so.1 lies that does not load without SYCL.
        library_folders.append(oneccl / "lib")
        variables["CCL_ROOT"] = str(oneccl)
    if (prefix / "bin" / "mpirun").is_file() and (prefix / "lib" / "libmpi.so.12").is_file():
        libfabric = prefix / "lib" / "libfabric"
        library_folders += [prefix / "lib", libfabric]
        variables["I_MPI_ROOT"] = str(prefix)
        variables["FI_PROVIDER_PATH"] = str(libfabric / "prov")
        variables["PATH"] = _in_front([prefix / "bin"], environ.get("PATH", os.defpath))
    if library_folders:
        variables["LD_LIBRARY_PATH"] = _in_front(
            library_folders, environ.get("LD_LIBRARY_PATH", "")
        )
    return variables


def ensure_stack() -> None:
    """Start this process again with the variables of the stack, unless it already has them.

    Call it first thing, before threads, output, or an import that loads MPI. The process keeps
    its id, its arguments and its open standard streams. Does not return when it restarts. A
    program that Python reads from standard input cannot be restarted: it has been read.
    """
    variables = stack_variables(Path(sys.prefix), os.environ)
    if all(os.environ.get(name) == value for name, value in variables.items()):
        return
    # Something between exec and here keeps changing the environment: once must do, or it would
    # go on for ever. The process id, because children inherit the mark.
    if os.environ.get(RESTART_MARK) == str(os.getpid()):
        return
    environ = {**os.environ, **variables, RESTART_MARK: str(os.getpid())}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)


def itex_folder(prefix: Path) -> Path:
    """Where the set-up puts Intel's TensorFlow extension: a site-packages of its own.

    TensorFlow loads the plug-ins of every entry of sys.path that has `site-packages` in its name.
    So the extension is loaded by a process that adds this folder to sys.path before it imports
    TensorFlow, and by no other. Add it only where `hvdtrain.processor.itex_may_load` allows it.
    """
    return prefix / "itex" / "site-packages"


def _in_front(folders: list[Path], path: str) -> str:
    first = [str(folder) for folder in folders]
    kept = [folder for folder in path.split(os.pathsep) if folder and folder not in first]
    return os.pathsep.join([*first, *kept])
