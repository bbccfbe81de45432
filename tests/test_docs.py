"""The documents: links lead somewhere, files are there, commands are taken, outputs are true."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from scripts.reference import PAGE
from tests.cli.calls import parse_call

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN = [path for path in DOCUMENTS if path != PAGE]
# What is named with one of these first is a path of this repository.
FOLDERS = ("docs", "hvdtrain", "jobs", "results/study", "scripts", "templates", "tests")
# Commands that only plan, without a chain to submit: they print the same on every machine.
PLANNING = ("cores", "predict", "render-job", "submit")


class Call(NamedTuple):
    """A call of hvdtrain in a document, and the lines that are shown as its output."""

    document: str
    words: list[str]
    shown: list[str]


def blocks(text: str) -> Iterator[str]:
    yield from re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def calls() -> Iterator[Call]:
    for path in WRITTEN:
        for block in blocks(path.read_text()):
            found: Call | None = None
            for line in block.replace("\\\n", " ").splitlines():
                words = words_of(line, is_shell=not block.lstrip().startswith("$"))
                if words is not None:
                    if found is not None:
                        yield found
                    found = Call(path.name, words, [])
                elif found is not None:
                    found.shown.append(line)
            if found is not None:
                yield found


def words_of(line: str, is_shell: bool) -> list[str] | None:
    """The words after `hvdtrain` in a line that calls it; None: it does not."""
    prompt = re.match(r"\$ |(?=[a-z])" if is_shell else r"\$ ", line)
    if prompt is None or "$(" in line:
        return None
    try:
        words = shlex.split(line[prompt.end() :], comments=True)
    except ValueError:
        return None
    if "hvdtrain" not in words or words[0] not in ("hvdtrain", "mpirun", "srun"):
        return None
    words = words[words.index("hvdtrain") + 1 :]
    return words[: words.index("|")] if "|" in words else words


CALLS = list(calls())
PLANNED = [
    call
    for call in CALLS
    if call.words[0] in PLANNING and call.shown and "--chain" not in call.words
]


def test_the_reference_is_up_to_date() -> None:
    # In a process of its own: click keeps the help option of a command from its first call.
    program = "from scripts.reference import make_page; print(make_page(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == PAGE.read_text().splitlines(), "run `make docs`"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 220


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    named = re.findall(r"`([\w./*-]+)`", path.read_text())
    paths = [name for name in named if name.startswith(tuple(f"{each}/" for each in FOLDERS))]
    assert [name for name in paths if not list(ROOT.glob(name.rstrip("/")))] == []


def test_all_documents_are_listed_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [path.name for path in DOCUMENTS[1:] if path.name not in text] == []


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.document}: {call.words[:2]}")
def test_every_call_that_is_shown_is_taken(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results/run").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    parse_call(["results/run" if "[" in word else word for word in call.words])


@pytest.mark.parametrize(
    "call",
    PLANNED,
    ids=lambda call: " ".join(call.words),
)
def test_what_a_plan_is_shown_to_print_is_what_it_prints(call: Call, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hvdtrain", *call.words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    printed = iter((done.stdout + done.stderr).replace("\\\n", " ").splitlines())
    shown = [line for line in call.shown if line not in ("", "…")]
    assert [line for line in shown if line not in printed] == []


def test_the_tests_above_have_found_what_they_look_for() -> None:
    names = {call.words[0] for call in CALLS}
    assert {"render-job", "predict", "cores", "submit", "status", "collect", "train"} <= names
    assert len(PLANNED) >= 6
