"""Which files of this installation a rank needs, and what each is called in the packed one.

Packed is what training loads: hvdtrain, the packages that it names as its requirements and theirs,
the MPI, oneCCL and ITEX that the set-up put beside them, and the Python where that is not the
system's own. The result is a folder that works wherever it is unpacked.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hvdtrain.errors import RunError
from hvdtrain.installation.commit import COMMIT_FILE, PACKAGE, read_git_commit
from hvdtrain.resources import resource_folder
from hvdtrain.stack import itex_folder

# No package requires these: mpi4py, Horovod and hvdtrain.stack look for what is there.
_LIBRARIES = ("impi-rt", "oneccl-devel")

# What no training loads: headers, static libraries, tests, compilers' and servers' parts.
_LEFT_OUT = (
    *("*.a", "*.h", "*.hpp", "*.inc", "*.pyi", "*.pyx", "*.pxd", "*.pyc", "*/include/*"),
    *("*/tests/*", "*/testdata/*", "*/sample_data/*"),
    *("bin/IMB-*", "opt/mpi/tune_fast/*", "lib/libccl.*", "lib/ccl/kernels/*"),
    *("*/clang/*", "*/tensorboard_data_server/*", "*/tensorboard/webfiles.zip"),
)
# Of the standard library.
_NO_TRAINING = ("test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages")

_SYSTEM_PREFIX = "/usr"
"""A Python below it belongs to the image of the node."""

_SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

# The libraries must be found before Python runs, so a shell says where they are. What modules of a
# site set for another Python must not come first: -I leaves PYTHONPATH and the user's own packages
# out, and a line that Python runs when it starts looks at PYTHONPATH last.
_PROGRAM = f"""#!/bin/sh
bin=${{0%/*}}
export LD_LIBRARY_PATH="$bin/../lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
exec "$bin/{_PYTHON}" -I -m hvdtrain "$@"
"""
_PYTHONPATH_LAST = (
    'import os, sys; sys.path.extend(filter(None, os.getenv("PYTHONPATH", "").split(os.pathsep)))'
)


@dataclass(frozen=True)
class Member:
    """A file of the packed installation.

    Attributes:
        name: Its path there.
        source: The file that it is a copy of; None: `content` says what it holds.
        content: Of a file that is made anew.
        link: What it points to, of a symbolic link.
        executable: Whether a file that is made anew is a program.
    """

    name: str
    source: Path | None = None
    content: bytes = b""
    link: str = ""
    executable: bool = False


def find_members() -> list[Member]:
    """Every file of the packed installation, in order of name.

    Raises:
        RunError: A package that a rank needs is not installed.
    """
    prefix = Path(sys.prefix)
    found = {
        member.name: member
        for members in (
            _of_python(),
            _of_packages(prefix),
            _of_itex(prefix),
            _of_hvdtrain(),
        )
        for member in members
    }
    return [found[name] for name in sorted(found)]


def _of_python() -> Iterator[Member]:
    """The interpreter: a link where every node has it, else all of it."""
    base = Path(sys.base_prefix)
    yield Member("bin/hvdtrain", content=_PROGRAM.encode(), executable=True)
    yield Member("bin/python", link=_PYTHON)
    yield Member(f"{_SITE}/pythonpath.pth", content=_PYTHONPATH_LAST.encode())
    if str(base) == _SYSTEM_PREFIX:
        yield Member(f"bin/{_PYTHON}", link=f"{base}/bin/{_PYTHON}")
        yield Member("pyvenv.cfg", content=f"home = {base}/bin\n".encode())
        return
    yield Member(f"bin/{_PYTHON}", source=base / "bin" / _PYTHON)
    yield from _below(base / "lib" / _PYTHON, f"lib/{_PYTHON}", _NO_TRAINING)
    library = sysconfig.get_config_var("LDLIBRARY")
    folder = sysconfig.get_config_var("LIBDIR")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and library and folder:
        # The name that programs are linked with, and the file behind it.
        for path in Path(folder).glob(f"{library}*"):
            yield Member(f"lib/{path.name}", source=path)


def _of_packages(prefix: Path) -> Iterator[Member]:
    site = prefix / _SITE
    for name in _needed_packages():
        distribution = importlib.metadata.distribution(name)
        if distribution.read_text("RECORD") is None:
            # An older pip has built it without a wheel, and left no list of what it installed.
            for package in (distribution.read_text("top_level.txt") or "").split():
                yield from _below(site / package, f"{_SITE}/{package}")
            continue
        for file in distribution.files or ():
            path = os.path.normpath(site / file)
            inner = os.path.relpath(path, prefix)
            if not inner.startswith("../") and not _is_left_out(inner) and os.path.isfile(path):
                yield Member(inner, source=Path(path))
    for link in (prefix / "oneccl" / "lib").glob("*"):
        yield Member(f"oneccl/lib/{link.name}", link=os.readlink(link))


def _of_itex(prefix: Path) -> Iterator[Member]:
    folder = itex_folder(prefix)
    if folder.is_dir():
        yield from _below(folder, os.path.relpath(folder, prefix))


def _of_hvdtrain() -> Iterator[Member]:
    """This package as a wheel has it: with its templates and jobs inside."""
    inside = f"{_SITE}/{PACKAGE.name}"
    yield from _below(PACKAGE, inside)
    for name in ("templates", "jobs"):
        yield from _below(resource_folder(name), f"{inside}/{name}")
    commit = read_git_commit()
    if commit is not None:
        yield Member(f"{inside}/{COMMIT_FILE}", content=commit.encode())


def _below(folder: Path, name: str, without: tuple[str, ...] = ()) -> Iterator[Member]:
    """The files below a folder, under another name."""
    for root, folders, files in os.walk(folder):
        if root == str(folder):
            folders[:] = [entry for entry in folders if entry not in without]
        inner = os.path.normpath(f"{name}/{os.path.relpath(root, folder)}")
        for file in files:
            if not _is_left_out(f"{inner}/{file}"):
                yield Member(f"{inner}/{file}", source=Path(root, file))


def _is_left_out(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _LEFT_OUT)


def _needed_packages() -> list[str]:
    """The distributions that hvdtrain requires for training, and what they require.

    Raises:
        RunError: One is not installed.
    """
    known: set[str] = set()
    waiting = _requirements("hvdtrain", "train")
    waiting += [name for name in _LIBRARIES if _is_installed(name)]
    while waiting:
        name = waiting.pop()
        if name not in known:
            known.add(name)
            waiting += _requirements(name)
    return sorted(known)


def _requirements(name: str, extra: str | None = None) -> list[str]:
    """What a distribution requires that is installed, and what it must have.

    A requirement under a condition, such as another system's, is one where it is installed.
    """
    try:
        lines = importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:
        raise RunError(f"the package {name} is not installed", "make setup") from None
    found = []
    for line in lines:
        requirement, _, condition = line.partition(";")
        wanted = "extra" not in condition or f"'{extra}'" in condition.replace('"', "'")
        match = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
        if wanted and match and (not condition or _is_installed(match[0])):
            found.append(re.sub(r"[-_.]+", "-", match[0]).lower())
    return found


def _is_installed(name: str) -> bool:
    return any(importlib.metadata.distributions(name=name))
