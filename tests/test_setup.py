"""The set-up script, with a Python and a pip that only note what they are asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent

# All that the script may rely on, apart from Python and a compiler. Nothing else is on its PATH.
TOOLS = """
awk bash cat chmod cut date df dirname env flock getconf grep head ln make mkdir mktemp mv nproc rm
sed sha256sum sort stat tail uname
"""
# A compiler reads its program before it says anything.
WORKS = "#!/usr/bin/env bash\ncat >/dev/null\n"
FAILS = "#!/usr/bin/env bash\ncat >/dev/null\necho 'fatal error' >&2\nexit 1\n"

# Answers questions with the real Python, makes an environment of a copy of itself, and notes what
# pip is told: its words, the lines of a requirements file, and the variables that matter.
PYTHON = """#!/usr/bin/env bash
case "$1 $2" in
    "-V ") echo "Python $FAKE_VERSION" ;;
    "-c import sys"*) [[ $FAKE_VERSION == 3.11.* ]] ;;
    "-c import ensurepip"*) [[ ! -e $FAKE_FOLDER/no-ensurepip ]] ;;
    "-c from hvdtrain"*) ;;
    "-m venv") mkdir -p "$3/bin" "$3/lib/python3.11/site-packages"; cat "$0" >"$3/bin/python"
        chmod +x "$3/bin/python" ;;
    "-m pip")
        {
            echo "pip ${*:3}"
            while (($# > 0)); do
                if [[ $1 == -r ]]; then sed "s/^/    /" "$2"; fi
                if [[ $1 == --target ]]; then mkdir -p "$2"; fi
                shift
            done
            echo "    MAKEFLAGS=${MAKEFLAGS-} CCL_ROOT=${CCL_ROOT-} I_MPI_ROOT=${I_MPI_ROOT-}"
            echo "    PYTHONPATH=${PYTHONPATH-} PIP_INDEX_URL=${PIP_INDEX_URL-} PIP_USER=$PIP_USER"
            echo "    PIP_NO_INDEX=${PIP_NO_INDEX-} PIP_FIND_LINKS=${PIP_FIND_LINKS-}"
        } >>"$FAKE_FOLDER/asked.partial"
        calls=$(cat "$FAKE_FOLDER/asked.partial"); rm "$FAKE_FOLDER/asked.partial"
        echo "$calls" >>"$FAKE_FOLDER/asked"
        if [[ -e $FAKE_FOLDER/broken && $calls == *"$(cat "$FAKE_FOLDER/broken")"* ]]; then
            cat "$FAKE_FOLDER/says"; exit 1
        fi ;;
esac
"""


class Machine:
    """A bare machine with a checkout on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout = folder / "checkout"
        self.tools = folder / "tools"
        self.asked = folder / "asked"
        (self.checkout / "scripts").mkdir(parents=True)
        for name in (
            *("requirements.txt", "requirements-dev.txt", "pyproject.toml"),
            *("scripts/setup.sh", "scripts/wheelhouse.sh"),
        ):
            shutil.copy(ROOT / name, self.checkout / name)
        self.tools.mkdir()
        for tool in TOOLS.split():
            program = shutil.which(tool)
            assert program, f"{tool} is missing on this machine"
            (self.tools / tool).symlink_to(program)
        self.install("python3.11", PYTHON)
        self.install("g++", WORKS)

    def install(self, name: str, program: str) -> None:
        (self.tools / name).unlink(missing_ok=True)
        (self.tools / name).write_text(program)
        (self.tools / name).chmod(0o755)

    def remove(self, name: str) -> None:
        (self.tools / name).unlink()

    def break_pip(self, asked: str, says: str) -> None:
        """From now on pip says this and fails when its words or pins contain `asked`."""
        (self.folder / "broken").write_text(asked)
        (self.folder / "says").write_text(says)

    def repair_pip(self) -> None:
        (self.folder / "broken").unlink()

    def setup(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script; forget what pip was asked before."""
        self.asked.write_text("")
        environ = {
            "PATH": str(self.tools),
            "HOME": str(self.folder),
            "FAKE_FOLDER": str(self.folder),
            "FAKE_VERSION": "3.11.9",
            **variables,
        }
        command = [str(self.tools / "bash"), "scripts/setup.sh"]
        return subprocess.run(
            command,
            cwd=self.checkout,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        """What pip was asked, call by call."""
        return [f"pip {call}" for call in self.asked.read_text().split("pip ")[1:]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def pins(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if "==" in line and "#" not in line]


REQUIREMENTS = pins((ROOT / "requirements.txt").read_text())
DEVELOPMENT = pins((ROOT / "requirements-dev.txt").read_text())


def test_every_pin_is_installed_once_and_horovod_after_what_it_builds_on(machine: Machine) -> None:
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    build, packages, horovod, itex, hvdtrain, check = machine.calls()
    assert sorted(pins(build + packages + horovod + itex)) == sorted(REQUIREMENTS)
    assert pins(horovod) == ["horovod==0.28.1"]
    assert {pin.partition("==")[0] for pin in pins(itex)} == {
        "intel-extension-for-tensorflow",
        "intel-extension-for-tensorflow-lib",
    }
    assert "--editable ." in hvdtrain
    assert check.startswith("pip check")
    assert done.stdout == ""


def test_horovod_is_built_here_for_this_mpi_and_never_taken_from_a_cache(machine: Machine) -> None:
    machine.setup(MAKEFLAGS="w -- PYTHON=")
    horovod = machine.calls()[2]
    for option in ("--no-build-isolation", "--no-cache-dir", "--no-binary horovod"):
        assert option in horovod
    venv = machine.checkout / ".venv"
    assert f"MAKEFLAGS=-j{min(os.cpu_count() or 1, 8)} CCL_ROOT={venv}/oneccl" in horovod
    assert f"I_MPI_ROOT={venv}\n" in horovod
    assert os.readlink(venv / "oneccl/lib/libccl.so.1") == "../../lib/ccl/cpu/lib/libccl.so.1"


def test_itex_is_kept_out_of_ordinary_site_packages(machine: Machine) -> None:
    machine.setup()
    assert "--target" in machine.calls()[3]
    assert (machine.checkout / ".venv/itex/site-packages").is_dir()
    assert not (machine.checkout / ".venv/itex.partial").exists()


def test_a_complete_set_up_asks_nothing(machine: Machine) -> None:
    machine.setup()
    again = machine.setup()
    assert again.returncode == 0
    assert again.stderr == "set-up: nothing to do\n"
    assert machine.calls() == []


def test_what_tests_need_is_added_when_it_is_asked_for_and_kept(machine: Machine) -> None:
    machine.setup()
    assert machine.setup(TESTS="yes").returncode == 0
    tests, check = machine.calls()
    assert sorted(pins(tests)) == sorted(DEVELOPMENT)
    assert check.startswith("pip check")
    assert machine.setup().stderr == "set-up: nothing to do\n"
    path = machine.checkout / "requirements-dev.txt"
    path.write_text(path.read_text().replace("\nruff==", "\nruff==0+"))
    machine.setup()
    assert len(machine.calls()) == 2


def test_a_wheelhouse_is_all_that_is_looked_at(machine: Machine) -> None:
    assert_stops_before_downloading(machine, "holds no tensorflow-*.whl", WHEELHOUSE="wheels")
    wheels = machine.folder / "wheels"
    wheels.mkdir()
    (wheels / "tensorflow-2.15.1-cp311.whl").touch()
    done = machine.setup(WHEELHOUSE=str(wheels), PIP_INDEX_URL="https://mirror.example/simple")
    assert done.returncode == 0, done.stderr
    assert len(machine.calls()) == 6
    for call in machine.calls():
        assert f"PIP_NO_INDEX=1 PIP_FIND_LINKS={wheels}\n" in call


def test_a_wheelhouse_without_a_package_is_named(machine: Machine) -> None:
    wheels = machine.folder / "wheels"
    wheels.mkdir()
    (wheels / "tensorflow-2.15.1-cp311.whl").touch()
    machine.break_pip("keras==", "ERROR: No matching distribution found for keras==2.15.0")
    done = machine.setup(WHEELHOUSE=str(wheels))
    assert done.returncode == 1
    assert f"{wheels} lacks a pinned version" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("asked", ["tensorflow==2.15.1", "horovod==", "--target"])
def test_an_interrupted_set_up_goes_on_where_it_was(machine: Machine, asked: str) -> None:
    machine.break_pip(asked, "Killed by somebody")
    first = machine.setup()
    assert first.returncode != 0
    machine.repair_pip()
    done_before = len(machine.calls()) - 1
    second = machine.setup()
    assert second.returncode == 0, second.stderr
    assert len(machine.calls()) == 6 - done_before
    assert asked in machine.calls()[0]


def test_a_package_that_pip_had_not_finished_is_installed_again(machine: Machine) -> None:
    machine.break_pip("click==", "Killed by somebody")
    machine.setup()
    machine.repair_pip()
    packages = machine.checkout / ".venv/lib/python3.11/site-packages"
    (packages / "whole-1.dist-info").mkdir()
    (packages / "whole-1.dist-info/RECORD").touch()
    (packages / "half-1.dist-info").mkdir()
    machine.setup()
    assert [folder.name for folder in packages.iterdir()] == ["whole-1.dist-info"]


@pytest.mark.parametrize(
    ("pin", "horovod_again"),
    [("click", False), ("Cython", False), ("tensorflow", True), ("impi-devel", True)],
)
def test_a_changed_pin_redoes_what_depends_on_it(
    machine: Machine, pin: str, horovod_again: bool
) -> None:
    machine.setup()
    path = machine.checkout / "requirements.txt"
    path.write_text(path.read_text().replace(f"\n{pin}==", f"\n{pin}==0+other.of."))
    assert machine.setup().returncode == 0
    calls = machine.calls()
    assert f"{pin}==0+other.of." in calls[0]
    assert any("horovod==" in call for call in calls) is horovod_again
    assert not any("--target" in call for call in calls)


def test_the_users_mirror_is_used_and_other_packages_are_not_mixed_in(machine: Machine) -> None:
    machine.setup(PIP_INDEX_URL="https://mirror.example/simple", PIP_USER="1", PYTHONPATH="/opt/x")
    assert len(machine.calls()) == 6
    for call in machine.calls():
        assert "PYTHONPATH= PIP_INDEX_URL=https://mirror.example/simple PIP_USER=0" in call


# --- one clear line ------------------------------------------------------------------------------


def assert_stops_before_downloading(machine: Machine, wanted: str, **variables: str) -> None:
    done = machine.setup(**variables)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert wanted in line
    assert machine.calls() == []
    assert not (machine.checkout / ".venv").exists()


def test_wrong_python(machine: Machine) -> None:
    (machine.tools / "python3").symlink_to("python3.11")
    assert_stops_before_downloading(
        machine,
        "Python 3.11 is needed, but python3.11 is 3.12.1, python3 is 3.12.1: apt-get install",
        FAKE_VERSION="3.12.1",
    )


def test_no_python(machine: Machine) -> None:
    machine.remove("python3.11")
    assert_stops_before_downloading(machine, "make setup PYTHON=/path/to/python3.11")


def test_the_python_that_was_asked_for_is_wrong(machine: Machine) -> None:
    assert_stops_before_downloading(
        machine, "but /no/python3.11 is missing", PYTHON="/no/python3.11"
    )


def test_a_python3_that_is_3_11_will_do(machine: Machine) -> None:
    (machine.tools / "python3.11").rename(machine.tools / "python3")
    assert machine.setup().returncode == 0


def test_python_without_venv(machine: Machine) -> None:
    (machine.folder / "no-ensurepip").touch()
    assert_stops_before_downloading(machine, "apt-get install python3.11-venv")


def test_no_compiler(machine: Machine) -> None:
    machine.remove("g++")
    assert_stops_before_downloading(machine, "apt-get install g++")


def test_a_compiler_too_old_for_tensorflow(machine: Machine) -> None:
    machine.install("g++", FAILS)
    assert_stops_before_downloading(machine, "no C++17 compiler")


def test_no_space_left(machine: Machine) -> None:
    machine.install("df", "#!/usr/bin/env bash\nprintf 'head\\n/dev/sda 9000 8100 900 90%% /\\n'\n")
    assert_stops_before_downloading(machine, "has 900 MB free and 4000 MB are needed: make room")


def test_a_quota_that_is_nearly_used_up(machine: Machine) -> None:
    machine.install(
        "df", "#!/usr/bin/env bash\nprintf 'head\\nnas:/home 9e8 1 90000000 1%% /\\n'\n"
    )
    lines = "Disk quotas\\nhead\\nnas:/work 9 0 10 0\\nnas:/home 9000000* 8000000 10000000 0\\n"
    machine.install("quota", f"#!/usr/bin/env bash\nprintf '{lines}'\n")
    assert_stops_before_downloading(machine, "your quota leaves 976 MB")


def test_a_c_library_that_is_too_old(machine: Machine) -> None:
    machine.install("getconf", "#!/usr/bin/env bash\necho 'glibc 2.17'\n")
    assert_stops_before_downloading(machine, "is 2.17 and 2.28 is needed")


def test_an_mpi_that_is_not_known(machine: Machine) -> None:
    assert_stops_before_downloading(machine, "use MPI=intel or MPI=system", MPI="openmpi")


def test_no_mpicxx_for_the_sites_mpi(machine: Machine) -> None:
    assert_stops_before_downloading(machine, "no mpicxx on PATH", MPI="system")


def test_an_mpicxx_without_its_headers(machine: Machine) -> None:
    machine.install("mpicxx", FAILS)
    assert_stops_before_downloading(machine, "cannot compile an MPI program", MPI="system")


def test_a_venv_of_somebody_else_is_not_touched(machine: Machine) -> None:
    mine = machine.checkout / ".venv/mine"
    mine.parent.mkdir()
    mine.touch()
    done = machine.setup()
    assert done.returncode == 1
    assert done.stderr.endswith("was not made by this set-up: move it away\n")
    assert mine.exists()


@pytest.mark.parametrize(
    ("says", "wanted"),
    [
        (
            "Temporary failure in name resolution",
            "cannot be reached: check the network",
        ),
        ("SSLError(SSLCertVerificationError(1", "PIP_CERT"),
        ("ERROR: No matching distribution found for keras==2.15.0", "lacks a pinned version"),
        ("OSError: [Errno 28] No space left on device", "the disk is full: make room"),
        ("OSError: [Errno 122] Disk quota exceeded", "the disk is full: make room"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "for want of memory"),
        ("something new", "the stage 'packages' failed"),
    ],
)
def test_a_failed_stage_ends_with_what_to_do(machine: Machine, says: str, wanted: str) -> None:
    machine.break_pip("tensorflow==2.15.1", f"first line\n{says}")
    done = machine.setup()
    assert done.returncode == 1
    assert says in done.stderr, "the end of the log is not shown"
    assert wanted in done.stderr.splitlines()[-1]
    assert says in (machine.checkout / ".venv/setup.log").read_text()


def test_a_cause_is_not_taken_from_an_earlier_stage(machine: Machine) -> None:
    machine.break_pip("tensorflow==2.15.1", "No space left on device")
    machine.setup()
    machine.break_pip("horovod==", "error: expected ';'")
    assert "the stage 'horovod' failed" in machine.setup().stderr.splitlines()[-1]


# --- the site's MPI ------------------------------------------------------------------------------

# What an MPI program is linked with decides about oneCCL.
LDD = "#!/usr/bin/env bash\necho '  {library} => /opt/mpi/lib/{library} (0x1)'\n"


def test_the_sites_mpi_replaces_intel_mpi(machine: Machine) -> None:
    machine.install("mpicxx", WORKS)
    machine.install("ldd", LDD.format(library="libmpi.so.40"))
    done = machine.setup(MPI="system")
    assert done.returncode == 0, done.stderr
    _build, _packages, mpi4py, horovod, *_ = machine.calls()
    assert not [pin for pin in pins("".join(machine.calls())) if pin.startswith(("impi", "oneccl"))]
    assert "--no-binary mpi4py" in mpi4py
    assert "CCL_ROOT= I_MPI_ROOT=\n" in horovod


def test_oneccl_is_kept_for_an_mpi_it_can_share_a_process_with(machine: Machine) -> None:
    machine.install("mpicxx", WORKS)
    machine.install("ldd", LDD.format(library="libmpi.so.12"))
    machine.setup(MPI="system")
    assert "oneccl-devel" in machine.calls()[1]
    assert "CCL_ROOT=/" in machine.calls()[3]


def test_the_choice_of_mpi_is_kept_and_another_one_starts_afresh(machine: Machine) -> None:
    machine.install("mpicxx", WORKS)
    machine.install("ldd", LDD.format(library="libmpi.so.40"))
    machine.setup(MPI="system")
    assert machine.setup().stderr == "set-up: nothing to do\n"
    # The module that had brought mpicxx may not be loaded in the next shell.
    machine.remove("mpicxx")
    assert machine.setup(MPI="system").stderr == "set-up: nothing to do\n"
    left_over = machine.checkout / ".venv/left-over"
    left_over.touch()
    assert machine.setup(MPI="intel").returncode == 0
    assert not left_over.exists()
    assert len(machine.calls()) == 6
