"""Cores, memory, shared memory and scheduler of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from hvdtrain.checks.check import Check
from hvdtrain.errors import HvdtrainError
from hvdtrain.machine import read_topology
from hvdtrain.plan.machine.topology import Topology

# A rank with ResNet-50, 224x224 images and a rank_batch of 32 takes about 4 GB.
MEMORY_FAIL_GB, MEMORY_WARN_GB = 2.0, 8.0
# Ranks of one node exchange gradients through shared memory. Containers often get 64 MB.
SHM_FAIL_GB, SHM_WARN_GB = 0.1, 1.0

SLURM_TOOLS = ("sbatch", "srun", "squeue", "scontrol", "scancel")

Which = Callable[[str], str | None]


def check_cores() -> Check:
    """The topology that the core map of a dry run will be made from."""
    try:
        return judge_cores(read_topology(), os.cpu_count() or 0)
    except HvdtrainError as error:
        return Check("cores", "fail", str(error).partition("\n")[0], "install util-linux (lscpu)")


def judge_cores(usable: Topology, all_threads: int) -> Check:
    """A process that may use only part of the node is no fault: a job may have asked for that."""
    sockets, cores, threads = len(usable.sockets), len(usable.cores), len(usable.cpus)
    detail = f"{sockets} x {cores // sockets} cores x {threads // cores} hardware threads"
    if threads < all_threads:
        detail += f"; this process may use {threads} of {all_threads} hardware threads"
    return Check("cores", "ok", detail)


def check_memory() -> Check:
    """Whether the memory now free holds a rank."""
    return judge_memory(Path("/proc/meminfo").read_text())


def judge_memory(meminfo: str) -> Check:
    """Judge the text of /proc/meminfo."""
    total_gb, free_gb = (_meminfo_gb(meminfo, key) for key in ("MemTotal", "MemAvailable"))
    detail = f"{free_gb:.1f} GB of {total_gb:.1f} GB free"
    if free_gb < MEMORY_FAIL_GB:
        return Check("memory", "fail", detail, "end other programs, or use a larger machine")
    if free_gb < MEMORY_WARN_GB:
        return Check("memory", "warn", detail, "train with fewer ranks or a smaller --rank-batch")
    return Check("memory", "ok", detail)


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Check:
    """Whether the ranks of this node can exchange gradients through shared memory."""
    if not folder.is_dir():
        return Check(str(folder), "fail", "does not exist", f"mount -t tmpfs tmpfs {folder}")
    usage = shutil.disk_usage(folder)
    return judge_shared_memory(str(folder), usage.free / 1e9, usage.total / 1e9)


def judge_shared_memory(name: str, free_gb: float, total_gb: float) -> Check:
    """Too little of it ends ranks with a bus error that names nothing."""
    detail = f"{free_gb:.2f} GB of {total_gb:.2f} GB free"
    fix = f"remove old files in {name}, or start the container with --shm-size=2g"
    if free_gb < SHM_FAIL_GB:
        return Check(name, "fail", detail, fix)
    if free_gb < SHM_WARN_GB:
        return Check(name, "warn", detail, fix)
    return Check(name, "ok", detail)


def check_slurm(which: Which = shutil.which) -> Check:
    """Slurm is needed to submit a job, not to write its script or to train here."""
    missing = [tool for tool in SLURM_TOOLS if which(tool) is None]
    if missing:
        detail = f"{', '.join(missing)} not found: scripts can be rendered here, not submitted"
        return Check("slurm", "warn", detail, "submit from a login node of the cluster")
    said = subprocess.run(
        ["sbatch", "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if said.returncode != 0:
        detail = f"installed, but without a configuration: {first_line(said.stderr)}"
        return Check("slurm", "warn", detail, "submit from a login node of the cluster")
    return Check("slurm", "ok", first_line(said.stdout))


def first_line(text: str) -> str:
    """The first line of a program's answer; empty when it said nothing."""
    return text.strip().partition("\n")[0]


def _meminfo_gb(meminfo: str, key: str) -> float:
    match = re.search(rf"^{key}:\s+(\d+) kB", meminfo, flags=re.MULTILINE)
    return int(match[1]) * 1024 / 1e9 if match else 0.0
