"""Python, the packages against their pins, and where Intel's TensorFlow extension is."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hvdtrain.checks.check import Check
from hvdtrain.processor import missing_for_itex, read_processor_flags
from hvdtrain.stack import itex_folder

SETUP_FIX = "make setup"

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"

# Training does without these; the set-up leaves the second row out with a site's own MPI.
DISPENSABLE_GROUPS = ("build",)
OPTIONAL_GROUPS = ("intel-mpi", "oneccl")
# Not in this environment's own site-packages, and looked at by a check of its own.
SEPARATE_GROUPS = ("itex",)

Pins = Mapping[str, Mapping[str, str]]


def check_python() -> Check:
    """TensorFlow 2.15 has no wheels for Python 3.12; this package needs tomllib of 3.11."""
    return judge_python(sys.version_info[:3], sys.prefix)


def judge_python(version: tuple[int, int, int], prefix: str) -> Check:
    """Only 3.11 will do."""
    detail = f"{'.'.join(map(str, version))} in {prefix}"
    if version[:2] != (3, 11):
        return Check("python", "fail", detail, "make setup PYTHON=/path/to/python3.11")
    return Check("python", "ok", detail)


def parse_pins(requirements: str) -> dict[str, dict[str, str]]:
    """The exact versions of requirements.txt: group, package, version."""
    pins: dict[str, dict[str, str]] = {}
    group = ""
    for line in requirements.splitlines():
        if match := re.match(r"# \[([a-z0-9-]+)\]", line):
            group = match[1]
        elif match := re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line.strip()):
            pins.setdefault(group, {})[match[1]] = match[2]
    return pins


def check_packages() -> Check:
    """Every installed package against its pin in the checkout that this package runs from."""
    if not REQUIREMENTS.is_file():
        detail = "installed from a wheel: the exact versions are in requirements.txt of a checkout"
        return Check("packages", "skipped", detail)
    return judge_packages(parse_pins(REQUIREMENTS.read_text()), _version)


def judge_packages(pins: Pins, version: Callable[[str], str | None]) -> Check:
    """Compare versions.

    Args:
        pins: Pinned version of each package, by group and by package.
        version: The installed version of a package; None when it is not installed.
    """
    wrong: list[str] = []
    dispensable: list[str] = []
    agreeing = 0
    for group, packages in pins.items():
        if group in SEPARATE_GROUPS:
            continue
        for package, pinned in packages.items():
            found = version(package)
            if found == pinned:
                agreeing += 1
            elif found is not None or group not in OPTIONAL_GROUPS:
                faults = dispensable if group in DISPENSABLE_GROUPS else wrong
                faults.append(f"{package} is {found or 'missing'}, not {pinned}")
    if wrong or dispensable:
        detail = "; ".join([*wrong, *dispensable])
        return Check("packages", "fail" if wrong else "warn", detail, SETUP_FIX)
    return Check("packages", "ok", f"{agreeing} packages have their pinned versions")


def check_itex() -> Check:
    """Whether ITEX is in its folder, in no other, and may be loaded here."""
    folder = itex_folder(Path(sys.prefix))
    versions = [
        found.version
        for found in importlib.metadata.distributions(
            name="intel-extension-for-tensorflow", path=[str(folder)]
        )
    ]
    others = (Path(entry) for entry in sys.path if "site-packages" in entry)
    return judge_itex(
        read_processor_flags(),
        versions[0] if versions else None,
        [entry for entry in others if entry != folder and _has_plugin(entry)],
    )


def judge_itex(flags: Iterable[str], version: str | None, strays: list[Path]) -> Check:
    """Judge what was found.

    Args:
        flags: Features of the processor, as /proc/cpuinfo names them.
        version: The version in the folder that hvdtrain loads ITEX from; None: not there.
        strays: Ordinary site-packages that hold it too. TensorFlow loads it from there by itself.
    """
    missing = missing_for_itex(frozenset(flags))
    lacks = f"this processor lacks {', '.join(missing)}"
    if strays:
        fix = "pip uninstall intel-extension-for-tensorflow intel-extension-for-tensorflow-lib"
        place = f"installed in {strays[0]}, where TensorFlow loads it by itself"
        if missing:
            return Check("itex", "fail", f"{place}, and {lacks}: it would crash", fix)
        return Check("itex", "warn", f"{place}, whatever was chosen for the run", fix)
    if missing:
        return Check("itex", "skipped", f"not loaded: {lacks}; stock TensorFlow is used")
    if version is None:
        return Check("itex", "fail", "not installed, and this processor can run it", SETUP_FIX)
    return Check("itex", "ok", f"{version}, loaded for training")


def _has_plugin(folder: Path) -> bool:
    return any(folder.glob("tensorflow-plugins/libitex*"))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
