"""No part of the package writes a file that is kept but through `hvdtrain.files.atomic`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "hvdtrain"

# What writes, renames or links by itself, and why it may.
ALLOWED = {
    ("files/atomic.py", "*"): "the writer",
    ("cli/output.py", "os.open"): "/dev/null for a stream that is closed or full",
    ("cli/output.py", "open"): "a standard stream that was closed",
    ("runs/folder.py", "open"): "appends lines to the metrics; a reader passes over half a line",
    ("runs/attempt.py", "touch"): "an empty file says something where none can be written",
    ("runs/lock.py", "os.open"): "the owner's file is locked as long as it is open",
    ("staging/copy.py", "open"): "copies for the job, read back, and the journal about them",
    ("staging/broadcast.py", "NamedTemporaryFile"): "sent to the nodes and gone",
    ("train/data/prepare.py", "open"): "appends to a journal, synced; a reader drops half a line",
    ("train/data/shardwriter.py", "TFRecordWriter"): "into the writer's file",
    ("train/checkpoint/archive.py", "ZipFile"): "into the writer's file",
    ("train/checkpoint/archive.py", "open"): "a member of that",
    ("train/checkpoint/weights.py", "H5IOStore"): "in memory",
    ("train/tensorboard.py", "create_file_writer"): "TensorBoard's own, a copy of the metrics",
    ("train/health/notes.py", "write_bytes"): "notes between ranks, gone when all have joined",
    ("train/health/notes.py", "replace"): "likewise",
    ("train/health/notes.py", "touch"): "likewise",
    ("collect/figures/drawing.py", "savefig"): "in memory",
}

# Methods and functions that write by their names alone.
WRITERS = {
    *("write_text", "write_bytes", "touch", "rename", "renames", "hardlink_to", "symlink_to"),
    *("mkstemp", "NamedTemporaryFile", "TemporaryFile", "copy2", "copyfile", "copytree", "move"),
    *("savez", "savez_compressed", "tofile", "save_weights", "H5IOStore", "savefig"),
    *("TFRecordWriter", "create_file_writer", "GFile", "ZipFile"),
}
OS_WRITERS = {"os.replace", "os.rename", "os.link", "os.symlink", "os.truncate", "np.save"}
# Functions of the package that use the writer.
OWN = {"rename", "save_weights"}
WRITE_FLAGS = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND")


def writing_calls(tree: ast.AST) -> Iterator[str]:
    """What a source calls that writes, renames or links a file."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        name = called.rpartition(".")[2]
        if called in OS_WRITERS:
            yield called
        elif called == "os.open":
            if any(flag in ast.unparse(node) for flag in WRITE_FLAGS):
                yield called
        elif name == "open":
            if opens_to_write(node):
                yield name
        elif name == "replace":
            # Of a text it has two arguments, and of a struct fields with names.
            if len(node.args) == 1 and not node.keywords:
                yield name
        elif name in WRITERS and called not in OWN:
            yield name


def opens_to_write(node: ast.Call) -> bool:
    """Whether a call of `open` may write: its mode says so, or is not written down."""
    position = 0 if isinstance(node.func, ast.Attribute) else 1
    given = [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
    given += node.args[position : position + 1]
    return any(
        not isinstance(mode, ast.Constant) or bool(set(str(mode.value)) & set("wxa+"))
        for mode in given
    )


FOUND = {
    (path.relative_to(PACKAGE).as_posix(), call)
    for path in PACKAGE.rglob("*.py")
    for call in writing_calls(ast.parse(path.read_text()))
}


def test_only_the_writer_writes_what_is_kept() -> None:
    assert {
        each for each in FOUND if each not in ALLOWED and (each[0], "*") not in ALLOWED
    } == set()


def test_no_exception_is_left_over() -> None:
    modules = {module for module, _ in FOUND}
    unused = {e for e in ALLOWED if e not in FOUND and not (e[1] == "*" and e[0] in modules)}
    assert unused == set()


@pytest.mark.parametrize(
    "source",
    [
        "open(path, 'w')",
        "open(path, mode='ab')",
        "open(path, mode)",
        "path.open('xb', buffering=0)",
        "path.write_text(text)",
        "path.replace(target)",
        "path.rename(target)",
        "os.replace(a, b)",
        "os.open(path, os.O_RDWR | os.O_CREAT)",
        "tempfile.mkstemp(dir=folder)",
        "np.savez(path, **arrays)",
        "model.save_weights(path)",
    ],
)
def test_a_writer_is_seen(source: str) -> None:
    assert len(list(writing_calls(ast.parse(source)))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "path.open('rb')",
        "open(path, encoding='utf-8')",
        "text.replace('a', 'b')",
        "msgspec.structs.replace(plan, nodes=1)",
        "dataclasses.replace(figure, panels=())",
        "os.open(path, os.O_RDONLY)",
    ],
)
def test_a_reader_is_not(source: str) -> None:
    assert list(writing_calls(ast.parse(source))) == []
