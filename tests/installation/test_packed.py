"""What was packed is used as long as the installation is the one that was packed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvdtrain.errors import RunError
from hvdtrain.installation import packed as module
from hvdtrain.installation.members import Member
from hvdtrain.installation.pack import older_files, pack
from hvdtrain.installation.packed import current_packed, fingerprint
from hvdtrain.plan.machine.packed import Packed

MEMBERS = [Member("bin/hvdtrain", content=b"program", executable=True)]


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of hvdtrain's own, and a place for the note of what was packed."""
    folder = tmp_path / "hvdtrain"
    folder.mkdir()
    (folder / "main.py").touch()
    monkeypatch.setattr(module, "PACKAGE", folder)
    monkeypatch.setattr(module, "NOTE_FILE", tmp_path / "packed.json")
    return folder


def pack_into(folder: Path, members: list[Member] = MEMBERS) -> Packed:
    return pack(members, folder, lambda _: None)


def test_what_was_packed_is_found_until_the_installation_changes(
    package: Path, tmp_path: Path
) -> None:
    assert current_packed() is None
    made = pack_into(tmp_path / "new" / "folder")
    assert current_packed() == made
    assert Path(made.file).stat().st_size == made.size_bytes
    assert made.sha256.startswith(Path(made.file).name.split("-")[1].split(".")[0])
    (package / "more.py").touch()
    assert current_packed() is None
    (package / "more.py").unlink()
    assert current_packed() == made
    Path(made.file).write_bytes(b"cut")
    assert current_packed() is None
    Path(made.file).unlink()
    assert current_packed() is None


def test_an_older_file_stays_for_the_jobs_that_name_it(tmp_path: Path) -> None:
    first = pack_into(tmp_path)
    second = pack_into(tmp_path, [*MEMBERS, Member("more", content=b"file")])
    assert older_files(second) == [Path(first.file)]
    assert pack_into(tmp_path) == first
    assert older_files(first) == [Path(second.file)]


def test_byte_code_is_no_change(package: Path) -> None:
    before = fingerprint()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "main.cpython-311.pyc").touch()
    assert fingerprint() == before


def test_a_full_disk_leaves_what_was_packed_before(tmp_path: Path) -> None:
    made = pack_into(tmp_path)
    missing = [*MEMBERS, Member("more", source=tmp_path / "missing")]
    with pytest.raises(RunError, match="cannot be packed into"):
        pack_into(tmp_path, missing)
    assert current_packed() == made
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
