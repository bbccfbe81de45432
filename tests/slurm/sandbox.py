"""A folder in which a rendered script really runs; its launchers and its program only record."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent.parent

# Takes its options away and runs the rest, as the real one would on a node.
_LAUNCHER = """#!/bin/bash
while [ $# -gt 0 ]; do
    case $1 in
    -n | -ppn | --map-by | --bind-to) shift 2 ;;
    -*) shift ;;
    *) break ;;
    esac
done
exec "$@"
"""

# A thousand scripts take their time: here a copy is only a copy.
_STAGING = """
stage)
    shift
    action=$1
    while [ "$1" != -- ]; do shift; done
    case $action in
    copy) mkdir -m 700 -- "$3" && cp -r -- "$2" "$3/data" ;;
    remove) rm -rf -- "$2" ;;
    esac
    ;;
"""

_REAL_STAGING = f"""
stage)
    if [ "$2-${{LOST:-}}" = remove-yes ]; then exit 1; fi
    PYTHONPATH={shlex.quote(str(_ROOT))} exec {shlex.quote(sys.executable)} -m hvdtrain "$@"
    ;;
"""

_PROGRAM = r"""#!/bin/bash
case $1 in
train)
    printf '%s\0' "$@" >"$RECORD/words"
    while [ $# -gt 0 ]; do
        if [ "$1" = --data ]; then
            cp -r -- "$2" "$RECORD/data"
            stat -c %a -- "${2%/*}" >"$RECORD/mode"
        fi
        if [ "$1" = --results ]; then stop=$2; fi
        if [ "$1" = --run-id ]; then stop=$stop/$2/.stop; fi
        shift
    done
    if [ "${SEND:-}" ]; then
        kill -"$SEND" "$PPID"
        until [ -e "$stop" ]; do sleep 0.01; done
    fi
    exit "${TRAIN_EXIT:-0}"
    ;;
preflight)
    printf '%s\0' "$@" >"$RECORD/preflight"
    exit "${PREFLIGHT_EXIT:-0}"
    ;;
STAGING
*)
    printf '%q ' "$@" >>"$RECORD/calls"
    echo >>"$RECORD/calls"
    if [ "$2" = end ]; then exit "${END_EXIT:-0}"; fi
    ;;
esac
"""


@dataclass(frozen=True)
class Outcome:
    """What a script did.

    Attributes:
        exit_code: Of the script.
        output: What it printed, errors included.
        words: What `hvdtrain train` was called with; empty when it was not.
        preflight: What `hvdtrain preflight` was called with; empty when it was not.
        record: Folder in which the ranks left what they saw.
    """

    exit_code: int
    output: str
    words: tuple[str, ...]
    preflight: tuple[str, ...]
    record: Path


def make_program(path: Path, *, stages: bool = False) -> Path:
    """A program in place of `hvdtrain`.

    Args:
        path: Where.
        stages: Whether it stages data as the real one does, and not only copies it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_PROGRAM.replace("STAGING", _REAL_STAGING if stages else _STAGING))
    path.chmod(0o755)
    return path


def run_script(script: str, folder: Path, **variables: str) -> Outcome:
    """Run a script as Slurm's batch shell would, in a working folder below `folder`."""
    tools, record, work = folder / "tools", folder / "record", folder / "work"
    for path in (tools, record, work):
        path.mkdir(parents=True, exist_ok=True)
    for name in ("ibrun", "srun", "mpirun", "module"):
        (tools / name).write_text(_LAUNCHER if name != "module" else "#!/bin/bash\n")
        (tools / name).chmod(0o755)
    (work / "job.sh").write_text(script)
    done = subprocess.run(
        ["bash", "job.sh"],
        cwd=work,
        env={
            "PATH": f"{tools}:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "RECORD": str(record),
            "SLURM_JOB_ID": "7",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return Outcome(
        exit_code=done.returncode,
        output=(done.stdout + done.stderr).decode(errors="replace"),
        words=_words(record / "words"),
        preflight=_words(record / "preflight"),
        record=record,
    )


def _words(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text().split("\0")[:-1]) if path.exists() else ()
