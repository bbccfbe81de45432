"""Where this installation lies: the C library, the file system, and the user's quota there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hvdtrain.checks.check import Check
from hvdtrain.errors import HvdtrainError
from hvdtrain.installation.packed import current_packed

# The oldest that some of the pinned packages are built for.
OLDEST_GLIBC = (2, 28)

# Of the kernel's names in /proc/self/mountinfo: what the nodes of a cluster have in common.
SHARED = ("afs", "beegfs", "ceph", "fuse", "gpfs", "lustre", "nfs", "panfs", "pvfs", "wekafs")

LEAST_QUOTA_MB = 1000
"""A run of ResNet-50 keeps 0.5 GB of checkpoints; an update of the packages takes more."""


def check_glibc() -> Check:
    """Whether the C library is new enough for the pinned packages."""
    return judge_glibc(os.confstr("CS_GNU_LIBC_VERSION") or "")


def judge_glibc(name: str) -> Check:
    """Judge what the C library calls itself, such as `glibc 2.36`."""
    try:
        version = tuple(map(int, name.removeprefix("glibc ").split(".")))
    except ValueError:
        return Check("glibc", "fail", f"not glibc: {name or 'unknown'}", "use a node that has it")
    if version < OLDEST_GLIBC:
        wanted = ".".join(map(str, OLDEST_GLIBC))
        return Check("glibc", "fail", f"{name}, and {wanted} is needed", "use a newer system")
    return Check("glibc", "ok", name)


def check_place() -> Check:
    """Whether many ranks would load this installation from one file system."""
    mounts = Path("/proc/self/mountinfo").read_text()
    try:
        packed = current_packed() is not None
    except HvdtrainError as error:
        return Check("place", "fail", str(error).partition("\n")[0], "hvdtrain pack")
    return judge_place(sys.prefix, mounts, packed=packed)


def judge_place(prefix: str, mounts: str, *, packed: bool) -> Check:
    """Judge the file system of the installation.

    Args:
        prefix: Of the installation.
        mounts: The text of /proc/self/mountinfo.
        packed: Whether jobs bring the installation to their nodes.
    """
    found = [_mount(line) for line in mounts.splitlines()]
    kind = max(
        ((len(point), kind) for point, kind in found if Path(prefix).is_relative_to(point)),
        default=(0, "an unknown file system"),
    )[1]
    where = f"{prefix} on {kind}"
    if packed:
        return Check("place", "ok", f"{where}, and packed for the nodes")
    if kind.startswith(SHARED):
        return Check("place", "warn", f"{where}: every rank loads it from there", "hvdtrain pack")
    return Check("place", "ok", where)


def check_quota(which: Callable[[str], str | None] = shutil.which) -> Check:
    """What the user's quota leaves in the home folder and where the installation lies."""
    if which("quota") is None:
        return Check("quota", "skipped", "there is no program that knows it: ask the site's own")
    done = subprocess.run(
        ["quota", "--no-wrap", "--raw-grace"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return judge_quota(done.stdout)


def judge_quota(said: str) -> Check:
    """Judge what `quota --no-wrap --raw-grace` says: blocks of 1024 bytes, and 0 for no limit."""
    left = {}
    for line in said.splitlines():
        fields = [field.rstrip("*") for field in line.split()]
        if len(fields) >= 4 and all(field.isdecimal() for field in fields[1:4]):
            used, soft, hard = map(int, fields[1:4])
            if hard or soft:
                left[fields[0]] = ((hard or soft) - used) * 1024 / 1e6
    if not left:
        return Check("quota", "ok", "none, or none that `quota` knows")
    detail = ", ".join(f"{place} leaves {megabytes:.0f} MB" for place, megabytes in left.items())
    if min(left.values()) < LEAST_QUOTA_MB:
        fix = "make room there, and keep results on the project's or the scratch file system"
        return Check("quota", "warn", detail, fix)
    return Check("quota", "ok", detail)


def _mount(line: str) -> tuple[str, str]:
    """Where a file system is mounted, and its kind, from a line of mountinfo (proc(5))."""
    before, _, after = line.partition(" - ")
    # A space in a path is written as an octal escape there.
    point = before.split()[4].replace("\\040", " ")
    return point, after.split()[0]
