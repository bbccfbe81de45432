from __future__ import annotations

from pathlib import Path

import pytest

from hvdtrain.checks import installation
from hvdtrain.checks.check import Status
from hvdtrain.checks.installation import judge_itex, judge_packages, judge_python, parse_pins

ROOT = Path(__file__).resolve().parent.parent.parent
SKYLAKE = ("avx512f", "avx512bw", "avx512vl")
KNIGHTS_LANDING = ("avx512f", "avx512pf", "avx512er", "avx512cd")

PINS = {
    "build": {"cmake": "3.31.10"},
    "tensorflow": {"keras": "2.15.0", "numpy": "1.26.4"},
    "intel-mpi": {"impi-rt": "2021.11.0"},
    "itex": {"intel-extension-for-tensorflow": "2.15.0.0"},
}
INSTALLED = {"cmake": "3.31.10", "keras": "2.15.0", "numpy": "1.26.4", "impi-rt": "2021.11.0"}


def test_the_pins_are_exact_and_each_belongs_to_a_group() -> None:
    text = (ROOT / "requirements.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pins = parse_pins(text)
    assert sum(len(packages) for packages in pins.values()) == len(lines)
    assert "" not in pins
    assert pins["tensorflow"]["tensorflow"] == "2.15.1"
    assert pins["horovod"] == {"horovod": "0.28.1"}


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        ({}, "ok", "4 packages have their pinned versions"),
        ({"numpy": "2.1.0"}, "fail", "numpy is 2.1.0, not 1.26.4"),
        ({"keras": None}, "fail", "keras is missing, not 2.15.0"),
        ({"cmake": None}, "warn", "cmake is missing, not 3.31.10"),
        ({"cmake": None, "keras": "3.0"}, "fail", "keras is 3.0, not 2.15.0; cmake is missing"),
        ({"impi-rt": None}, "ok", "3 packages"),
        ({"impi-rt": "2021.14.1"}, "fail", "impi-rt is 2021.14.1"),
    ],
)
def test_packages_against_their_pins(
    change: dict[str, str | None], status: Status, detail: str
) -> None:
    installed = {**INSTALLED, **change}
    check = judge_packages(PINS, installed.get)
    assert check.status == status
    assert detail in check.detail
    assert bool(check.fix) is (status != "ok")


def test_a_wheel_has_no_pins_to_compare_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ROOT / "requirements.txt" == installation.REQUIREMENTS
    monkeypatch.setattr(installation, "REQUIREMENTS", tmp_path / "requirements.txt")
    assert installation.check_packages().status == "skipped"


@pytest.mark.parametrize(("minor", "status"), [(10, "fail"), (11, "ok"), (12, "fail")])
def test_only_python_3_11_will_do(minor: int, status: Status) -> None:
    assert judge_python((3, minor, 4), "/venv").status == status


@pytest.mark.parametrize(
    ("flags", "version", "strays", "status"),
    [
        (SKYLAKE, "2.15.0.0", [], "ok"),
        (SKYLAKE, None, [], "fail"),
        (SKYLAKE, "2.15.0.0", [Path("/v/site-packages")], "warn"),
        (KNIGHTS_LANDING, "2.15.0.0", [], "skipped"),
        (KNIGHTS_LANDING, None, [], "skipped"),
        # TensorFlow would load it by itself and die of an illegal instruction.
        (KNIGHTS_LANDING, None, [Path("/v/site-packages")], "fail"),
    ],
)
def test_itex_where_it_may_load_and_only_there(
    flags: tuple[str, ...], version: str | None, strays: list[Path], status: Status
) -> None:
    check = judge_itex(flags, version, strays)
    assert check.status == status
    assert bool(check.fix) is (status in ("fail", "warn"))
    if status == "skipped":
        assert "avx512bw, avx512vl" in check.detail
