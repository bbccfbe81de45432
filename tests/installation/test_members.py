"""What is packed: all that a rank loads, and nothing that only building and testing need."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hvdtrain.errors import RunError
from hvdtrain.installation import members as module
from hvdtrain.installation.members import Member, find_members

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def members() -> dict[str, Member]:
    return {member.name: member for member in find_members()}


def test_what_training_needs_is_packed(members: dict[str, Member]) -> None:
    site = "lib/python3.11/site-packages"
    for name in ("click/core.py", "hvdtrain/cli/main.py", "hvdtrain/recipes/linear-90.toml"):
        assert f"{site}/{name}" in members
    for name in ("templates/slurm.sh.j2", "jobs/sweeps/table-05.toml"):
        assert f"{site}/hvdtrain/{name}" in members
    assert list(members) == sorted(members)


def test_what_only_tests_and_builds_need_is_not(members: dict[str, Member]) -> None:
    packages = {name.split("/")[3] for name in members if "/site-packages/" in name}
    assert packages.isdisjoint({"pytest", "mypy", "selenium", "cmake", "pip", "Cython", "pandas"})
    assert not any(name.endswith((".a", ".h", ".pyc")) for name in members)
    assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in members)


def test_a_python_of_the_system_is_linked_and_another_one_packed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    system = {member.name: member for member in module._of_python()}
    assert system["bin/python3.11"].link == "/usr/bin/python3.11"
    assert system["pyvenv.cfg"].content == b"home = /usr/bin\n"
    for name in ("bin/python3.11", "lib/python3.11/os.py", "lib/python3.11/test/big.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    own = {member.name: member for member in module._of_python()}
    assert own["bin/python3.11"].source == tmp_path / "bin/python3.11"
    assert "lib/python3.11/os.py" in own
    assert "lib/python3.11/test/big.py" not in own
    assert "pyvenv.cfg" not in own


def test_a_package_without_a_list_of_its_files_is_packed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    for name in ("old/library.so", "old-1.egg-info/PKG-INFO", "old-1.egg-info/top_level.txt"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("old")
    monkeypatch.setattr(module, "_needed_packages", lambda: ["old"])
    monkeypatch.syspath_prepend(site)
    assert [member.source for member in module._of_packages(tmp_path)] == [site / "old/library.so"]


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(RunError, match="the package no-such-package is not installed"):
        module._requirements("no-such-package")
