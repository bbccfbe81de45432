"""The first node says what the data is, and the others have the same or stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvdtrain.errors import RunError
from hvdtrain.staging.reference import Reference, check_reference


def test_the_first_leaves_its_sum_and_the_others_compare(tmp_path: Path) -> None:
    file = tmp_path / ".data-sha256"
    for host in ("n1", "n2", "n1"):
        check_reference(file, Reference(host=host, sha256="a" * 64))
    with pytest.raises(RunError, match=r"not what n1 has read: its checksum is b{16}, not a{16}"):
        check_reference(file, Reference(host="n3", sha256="b" * 64))
    assert [path.name for path in tmp_path.iterdir()] == [".data-sha256"]


def test_a_damaged_file_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    mine = Reference(host="n1", sha256="a" * 64)
    (tmp_path / "sum").write_text("{")
    with pytest.raises(RunError, match=r"sum' is damaged"):
        check_reference(tmp_path / "sum", mine)
    with pytest.raises(RunError, match=r"nowhere/sum cannot be written: No such file"):
        check_reference(tmp_path / "nowhere" / "sum", mine)
