"""`hvdtrain systems`: the list, one system, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hvdtrain.commands.systems import command
from hvdtrain.errors import InputError
from hvdtrain.plan.machine.system import system_files
from hvdtrain.resources import resource_folder
from tests.cli.markdown import read_cells


def invoke(*words: str, systems: Path | None = None) -> str:
    environ = {"XDG_CONFIG_HOME": "/nowhere", "HVDTRAIN_SYSTEMS": str(systems) if systems else None}
    return CliRunner(env=environ).invoke(command, words, catch_exceptions=False).stdout


def test_the_list_has_every_system_and_marks_what_is_unverified() -> None:
    lines = read_cells(invoke())
    assert [cells[0] for cells in lines] == ["name", *sorted(system_files(None))]
    (submit_to,) = (cells[2] for cells in lines if cells[0] == "marenostrum4")
    assert submit_to == "prace (?), class_a (?), xlarge (?), bsc_cs (?), debug (?)"
    (known,) = (cells for cells in lines if cells[0] == "stampede2-knl")
    assert "?" not in "".join(known)


def test_one_system_shows_its_facts_with_their_source() -> None:
    shown = invoke("stampede2-knl")
    for text in (
        "TACC user guide of Stampede2",
        "(2022-03)",
        "cores_per_socket = 68",
        "large (1-2048 nodes, 2-00:00:00), opened for you by a TACC ticket",
        "development (1-16 nodes, 02:00:00), only by --partition",
        "numbering = block (?)",
        "mem: TACC rejects --mem",
        str(resource_folder("systems") / "stampede2-knl.toml"),
    ):
        assert text in shown


def test_json_is_all_of_it() -> None:
    assert [each["name"] for each in json.loads(invoke("--json"))] == sorted(system_files(None))
    assert json.loads(invoke("stampede2-knl", "--json"))["node"]["cores_per_socket"] == 68


def test_a_file_of_ones_own_is_the_one_that_is_shown(tmp_path: Path) -> None:
    text = (resource_folder("systems") / "lumi-c.toml").read_text()
    (tmp_path / "lumi-c.toml").write_text(text.replace("LUMI-C", "my LUMI"))
    assert "my LUMI" in invoke("lumi-c", systems=tmp_path)
    assert str(tmp_path / "lumi-c.toml") in invoke("lumi-c", systems=tmp_path)
    assert "my LUMI" not in invoke("lumi-c")


def test_an_unknown_system_is_refused() -> None:
    with pytest.raises(InputError):
        invoke("nope")


def test_a_copy_takes_precedence_and_is_never_overwritten(tmp_path: Path) -> None:
    assert invoke("--copy", "lumi-c", systems=tmp_path) == f"{tmp_path}/lumi-c.toml\n"
    copy = tmp_path / "lumi-c.toml"
    copy.write_text(copy.read_text().replace("max_nodes = 512", "max_nodes = 600"))
    assert "standard (1-600 nodes" in invoke("lumi-c", systems=tmp_path)
    for words, said in (
        (("--copy", "lumi-c"), "edit .*/lumi-c.toml"),
        (("--copy",), "the name of a system"),
        (("--copy", "lumi"), "lumi-c"),
    ):
        with pytest.raises(InputError, match=said):
            invoke(*words, systems=tmp_path)
    assert "max_nodes = 600" in copy.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["lumi-c.toml"]
