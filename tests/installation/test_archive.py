"""A packed installation: the same bytes each time, nothing twice, and byte code that is used."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from hvdtrain.installation.archive import Content, write_archive
from hvdtrain.installation.members import Member


@pytest.fixture
def members(tmp_path: Path) -> list[Member]:
    tmp_path.joinpath("one.so").write_bytes(os.urandom(1_200_000))
    tmp_path.joinpath("two.so").write_bytes((tmp_path / "one.so").read_bytes())
    tmp_path.joinpath("module.py").write_text("import warnings\nprint(__file__, 1 is 1)\n")
    tmp_path.joinpath("template.py").write_text("print '{{ value }}'\n")
    tmp_path.joinpath("tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    names = ("one.so", "two.so", "module.py", "template.py", "tool")
    return [
        *(Member(f"lib/{name}", source=tmp_path / name) for name in sorted(names)),
        Member("link", link="lib/tool"),
        Member("made", content=b"#!/bin/sh\n", executable=True),
    ]


def written(members: list[Member]) -> tuple[bytes, Content]:
    file = io.BytesIO()
    content = write_archive(members, file, lambda _: None)
    return file.getvalue(), content


def test_the_same_members_give_the_same_bytes(members: list[Member]) -> None:
    first, content = written(members)
    for member in members:
        if member.source:
            os.utime(member.source, (1, 1))
    assert written(members)[0] == first
    assert content.files == len(members) + 1
    assert 1_200_000 < content.size_bytes < 1_210_000


def test_what_is_packed_works_where_it_is_unpacked(members: list[Member], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with tarfile.open(fileobj=io.BytesIO(written(members)[0])) as tar:
        tar.extractall(out, filter="tar")
    assert (out / "lib/one.so").samefile(out / "lib/two.so")
    assert os.access(out / "link", os.X_OK)
    assert os.access(out / "made", os.X_OK)
    assert not os.access(out / "lib/one.so", os.X_OK)
    assert [path.name for path in (out / "lib/__pycache__").iterdir()] == ["module.cpython-311.pyc"]
    # The byte code is used although the module has another time, or none that is right.
    words = [sys.executable, "-v", "-c", "import module"]
    environ = {"PYTHONPATH": str(out / "lib"), "PATH": ""}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == f"{out}/lib/module.py True\n"
    assert f"code object from '{out}/lib/__pycache__/module.cpython-311.pyc'" in done.stderr
