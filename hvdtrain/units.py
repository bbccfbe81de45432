"""Durations, sizes and lists of processor ids, as people write them and as programs need them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hvdtrain.errors import InputError

_CLOCK = re.compile(r"([0-9]{1,6}):([0-5]?[0-9])(?::([0-5]?[0-9]))?")
_DAYS = re.compile(r"([0-9]{1,4})-([0-9]{1,2})(?::([0-5]?[0-9]))?(?::([0-5]?[0-9]))?")


def parse_walltime_min(text: str, field: str = "walltime") -> int:
    """Minutes of a wall time as Slurm writes it: `30`, `2:00:00`, `1-12`, `1-12:00:00`.

    Seconds are rounded up to a whole minute. As in Slurm, `a:b` is minutes and seconds, but
    `d-a:b` is days, hours and minutes.

    Raises:
        InputError: Another form, or zero.
    """
    seconds = 0
    if re.fullmatch(r"[0-9]{1,6}", text):
        seconds = int(text) * 60
    elif match := _DAYS.fullmatch(text):
        days, hours, minutes, rest = (int(part or 0) for part in match.groups())
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    elif match := _CLOCK.fullmatch(text):
        first, second, third = match.groups()
        short = int(first) * 60 + int(second)
        seconds = short if third is None else short * 60 + int(third)
    minutes = -(-seconds // 60)
    if minutes < 1:
        raise InputError(
            field, text, "minutes, HH:MM:SS or D-HH:MM:SS, at least one minute", "use 2:00:00"
        )
    return minutes


def format_walltime(walltime_min: int) -> str:
    """Slurm's form of a wall time: `02:00:00`, or `1-12:00:00` from one day on."""
    days, rest = divmod(walltime_min, 1440)
    text = f"{rest // 60:02d}:{rest % 60:02d}:00"
    return f"{days}-{text}" if days else text


def format_duration(seconds: float) -> str:
    """A duration for people: `16.8 s`, `28 min`, `3.2 h`, `21.7 d`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def format_bytes(size: float) -> str:
    """A size for people, in powers of 1000: `512 B`, `3.4 MB`, `140 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def format_cpu_list(cpus: Iterable[int]) -> str:
    """The kernel's form of a set of processor ids, sorted: `0-21,24-45`."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def parse_cpu_list(text: str, field: str = "cpus") -> tuple[int, ...]:
    """Processor ids of the kernel's list form: `0-3,8` is (0, 1, 2, 3, 8).

    Raises:
        InputError: Not a list of ids and ranges, or a range that runs backwards.
    """
    cpus: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise InputError(field, text, "a list of processor ids and ranges such as 0-3,8")
        cpus.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(cpus))
