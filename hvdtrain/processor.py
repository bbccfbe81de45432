"""What this processor can do, and whether Intel's TensorFlow extension may be loaded on it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

# ITEX chooses its AVX-512 library by the first of these alone and then uses all three. Knights
# Landing has only the first: there the extension dies of an illegal instruction.
ITEX_FLAGS = ("avx512f", "avx512bw", "avx512vl")


def parse_processor_flags(cpuinfo: str) -> frozenset[str]:
    """The features of the first processor in the text of /proc/cpuinfo, as the kernel names them.

    Empty when the text has no line of flags.
    """
    match = re.search(r"^flags\s*:(.*)$", cpuinfo, flags=re.MULTILINE)
    return frozenset(match[1].split()) if match else frozenset()


def read_processor_flags() -> frozenset[str]:
    """The features of this machine's processor."""
    return parse_processor_flags(Path("/proc/cpuinfo").read_text())


def missing_for_itex(flags: Collection[str]) -> tuple[str, ...]:
    """The features that ITEX needs and this processor lacks."""
    return tuple(flag for flag in ITEX_FLAGS if flag not in flags)


def itex_may_load(flags: Collection[str]) -> bool:
    """Whether Intel's TensorFlow extension runs on a processor with these features."""
    return not missing_for_itex(flags)
