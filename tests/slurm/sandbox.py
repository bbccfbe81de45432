"""A folder in which a rendered script really runs; its launchers and its program only record."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

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

_PROGRAM = """#!/bin/bash
if [ "$1" = preflight ]; then
    printf '%s\\0' "$@" >"$RECORD/preflight"
    exit "${PREFLIGHT_EXIT:-0}"
fi
if [ "$1" != train ]; then
    printf '%q ' "$@" >>"$RECORD/calls"
    echo >>"$RECORD/calls"
    exit 0
fi
printf '%s\\0' "$@" >"$RECORD/words"
while [ $# -gt 0 ]; do
    if [ "$1" = --data ]; then
        cp -r -- "$2" "$RECORD/data"
        stat -c %a -- "$2" >"$RECORD/mode"
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


def make_program(path: Path) -> Path:
    """A program in place of `hvdtrain`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_PROGRAM)
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
