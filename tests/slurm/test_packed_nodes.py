"""The packed installation, as it is, on two nodes of a real Slurm of which one has no other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from hvdtrain.files.decode import load_json
from hvdtrain.installation.commit import read_git_commit
from hvdtrain.installation.members import find_members
from hvdtrain.installation.pack import pack
from hvdtrain.installation.packed import NOTE_FILE
from hvdtrain.plan.job.job_plan import ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.packed import Packed
from hvdtrain.plan.machine.system import load_system
from hvdtrain.runs.names import RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.slurm.render import render_script
from tests.ranks import ROOT
from tests.slurm.nodes import Nodes

SYSTEMS = Path(__file__).parent / "systems"
PROGRAM = Path(sys.executable).with_name("hvdtrain")
PMI_LIBRARY = next(Path("/usr/lib").glob("*/libpmi2.so.0"), None)

MOST_LOOKUPS = 300
"""Of paths that are on no file system of the node, until a rank has trained."""
OF_THE_NODE = ("/dev/", "/etc/", "/lib", "/proc", "/run/", "/sys", "/tmp/", "/usr/", "/var/")

pytestmark = [pytest.mark.slurm, pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packed]:
    """This installation. What was packed of it before stays what jobs use."""
    before = NOTE_FILE.read_bytes() if NOTE_FILE.exists() else None
    folder = tmp_path_factory.mktemp("packed")
    yield pack(find_members(), folder, lambda _: None)
    shutil.rmtree(folder)
    if before is None:
        NOTE_FILE.unlink()
    else:
        NOTE_FILE.write_bytes(before)


def test_a_node_without_the_installation_trains(
    nodes: Nodes, packed: Packed, tmp_path: Path
) -> None:
    if PMI_LIBRARY is None:
        pytest.skip("libpmi2.so.0 not installed: Debian's package libpmi2-0")
    system = load_system("pair", SYSTEMS)
    request = JobRequest(
        system="pair", nodes=2, node_batch=8, steps=4, data="synthetic", images_per_epoch=64,
        model="small", walltime="10", job_name="packed",
    )  # fmt: skip
    origin = ScriptOrigin(
        command="c", hvdtrain=str(PROGRAM), systems_folder=str(SYSTEMS), packed=packed
    )
    script = render_script(make_job(request, system, origin))
    variables = {"I_MPI_PMI_LIBRARY": str(PMI_LIBRARY), "FI_TCP_IFACE": "lo"}
    with ExitStack() as stack:
        for path in (Path(sys.prefix), ROOT / "hvdtrain"):
            stack.callback(nodes.hide("n2", path))
        number = nodes.submit(script, tmp_path, variables)
        shown = nodes.wait_for_end(number)
    assert shown["JobState"] == "COMPLETED", nodes.output(number)
    record = load_json(tmp_path / "results" / f"packed-{number}" / RECORD_FILE, Record)
    assert record.hosts == ("n1", "n2")
    assert record.git_commit == read_git_commit()
    for node in ("n1", "n2"):
        words = ("nsenter", f"--target={nodes.processes[node]}", "--mount", "ls", "-A", "/dev/shm")
        left = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert "program" not in left


def test_a_rank_looks_up_next_to_nothing_that_is_not_on_its_node(
    packed: Packed, tmp_path: Path
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace not installed")
    program = tmp_path / "program"
    program.mkdir()
    subprocess.run(["tar", "-xzf", packed.file, "-C", program], check=True)
    log = tmp_path / "paths"
    words = [
        *(strace, "--follow-forks", "--trace=%file", "--signal=none", "--quiet=all"),
        *("--output", str(log), str(program / "bin" / "hvdtrain"), "train", "--system", "local"),
        *("--nodes", "1", "--ranks-per-node", "1", "--rank-batch", "2", "--model", "small"),
        *("--images-per-epoch", "8", "--steps", "2", "--no-attest"),
        *("--results", str(tmp_path / "results")),
    ]
    done = subprocess.run(
        words, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr
    paths = re.findall(r'^\d+ +\w+\((?:AT_FDCWD, )?"(/[^"]*)"', log.read_text(), re.MULTILINE)
    assert len(paths) > 10_000
    far = [path for path in paths if not path.startswith(OF_THE_NODE)]
    assert len(far) < MOST_LOOKUPS, msgspec.json.encode(far[:50])
