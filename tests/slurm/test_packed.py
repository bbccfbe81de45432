"""A rendered script, really run, brings the program to the node, uses it there, and removes it."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import msgspec
import pytest

from hvdtrain.installation.archive import write_archive
from hvdtrain.installation.members import Member
from hvdtrain.installation.pack import pack
from hvdtrain.plan.job.job_plan import ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.packed import Packed
from hvdtrain.plan.machine.system import load_system
from hvdtrain.slurm.render import render_script
from tests.slurm.sandbox import make_program, run_script

pytestmark = pytest.mark.slow

# Where the program is installed, it may only be asked about the job.
INSTALLED = '#!/bin/bash\n[ "$1" = attempt ] || { echo "installed: $*" >&2; exit 9; }\n'


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packed:
    monkeypatch.setattr("hvdtrain.installation.packed.NOTE_FILE", tmp_path / "note.json")
    program = make_program(tmp_path / "program")
    (tmp_path / "ram").mkdir()
    return pack([Member("bin/hvdtrain", source=program)], tmp_path / "in", lambda _: None)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the program is unpacked."""
    return tmp_path / "ram" / f"hvdtrain-{os.getuid()}-hvdtrain-stampede2-knl-2n-b64-7-program"


def make_script(folder: Path, packed: Packed, stage_by: str = "parallel-read") -> str:
    system = load_system("stampede2-knl")
    assert system.slurm is not None
    system = msgspec.structs.replace(
        system,
        node=msgspec.structs.replace(system.node, staging=str(folder / "ram")),
        slurm=msgspec.structs.replace(system.slurm, stage_by=stage_by),
    )
    installed = folder / "installed"
    installed.write_text(INSTALLED)
    installed.chmod(0o755)
    origin = ScriptOrigin(command="c", hvdtrain=str(installed), packed=packed)
    return render_script(make_job(JobRequest(nodes=2, data="synthetic"), system, origin))


def test_the_ranks_run_from_the_copy_and_nothing_is_left(
    packed: Packed, place: Path, tmp_path: Path
) -> None:
    outcome = run_script(make_script(tmp_path, packed), tmp_path, TRAIN_EXIT="3")
    assert outcome.exit_code == 3, outcome.output
    assert outcome.words[0] == "train"
    assert outcome.preflight[0] == "preflight"
    assert list(place.parent.iterdir()) == []


def test_a_program_that_the_user_names_runs_from_where_it_is(
    packed: Packed, tmp_path: Path
) -> None:
    own = make_program(tmp_path / "own")
    Path(packed.file).unlink()
    outcome = run_script(make_script(tmp_path, packed), tmp_path, HVDTRAIN=str(own))
    assert outcome.exit_code == 0, outcome.output
    assert outcome.words[0] == "train"


def test_what_an_earlier_start_has_left_is_used(
    packed: Packed, place: Path, tmp_path: Path
) -> None:
    place.mkdir(mode=0o700)
    with tarfile.open(packed.file) as tar:
        tar.extractall(place, filter="tar")
    (place / "unpacked").write_text(f"{packed.sha256}\n")
    Path(packed.file).unlink()
    outcome = run_script(make_script(tmp_path, packed), tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.words[0] == "train"
    assert list(place.parent.iterdir()) == []


def test_what_an_earlier_start_has_left_half_is_made_anew(
    packed: Packed, place: Path, tmp_path: Path
) -> None:
    (place / "bin").mkdir(mode=0o700, parents=True)
    (place / "bin" / "hvdtrain").write_text("half")
    (place / "packed").write_text("half")
    outcome = run_script(make_script(tmp_path, packed), tmp_path)
    assert outcome.exit_code == 0, outcome.output


def do_harm(harm: str, packed: Packed, place: Path) -> None:
    match harm:
        case "another file":
            with Path(packed.file).open("wb") as file:
                write_archive([Member("bin/hvdtrain", content=b"other")], file, lambda _: None)
        case "no file":
            Path(packed.file).unlink()
        case "a link":
            (place.parent.parent / "elsewhere").mkdir()
            place.symlink_to(place.parent.parent / "elsewhere")
        case "no program":
            place.mkdir(mode=0o700)
            (place / "unpacked").write_text(f"{packed.sha256}\n")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("another file", "its checksum is another one"),
        ("no file", "is there room for"),
        ("a link", "name another place as node.staging"),
        ("no program", "the program does not run from"),
    ],
)
def test_a_node_that_cannot_run_the_program_is_named(
    harm: str, said: str, packed: Packed, place: Path, tmp_path: Path
) -> None:
    script = make_script(tmp_path, packed)
    do_harm(harm, packed, place)
    outcome = run_script(script, tmp_path)
    assert outcome.exit_code == 1
    assert outcome.words == outcome.preflight == ()
    assert f"{os.uname().nodename}: " in outcome.output
    assert said in outcome.output
    elsewhere = tmp_path / "elsewhere"
    assert not elsewhere.exists() or list(elsewhere.iterdir()) == []


def test_slurm_passes_the_file_on_where_the_system_says_so(packed: Packed, tmp_path: Path) -> None:
    script = make_script(tmp_path, packed, "sbcast")
    sbcast = tmp_path / "tools" / "sbcast"
    sbcast.parent.mkdir()
    sbcast.write_text('#!/bin/bash\ncp -- "$3" "$4" && rm -- "$3"\n')
    sbcast.chmod(0o755)
    outcome = run_script(script, tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.words[0] == "train"
