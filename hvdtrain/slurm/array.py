"""The script of a job array: each task becomes the script of its own run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hvdtrain.slurm.quoting import comment, directive, quote_words


def render_array(title: str, directives: Mapping[str, str], scripts: Sequence[Path]) -> str:
    """The script of an array with a task for each of the scripts, counted from 0.

    Args:
        title: What the array is, for a comment.
        directives: #SBATCH directives of every task.
        scripts: Whole paths. They are read when a task starts.

    Raises:
        InputError: A value holds a control character.
    """
    lines = [
        "#!/bin/bash",
        *(directive(name, value) for name, value in directives.items()),
        "",
        f"# {comment(title)}",
        "case $SLURM_ARRAY_TASK_ID in",
        # The task's shell becomes the script: a signal for the one reaches the other.
        *(
            f"{number}) exec bash {quote_words([str(path)])} ;;"
            for number, path in enumerate(scripts)
        ),
        "esac",
        'echo "$0: the array has no task $SLURM_ARRAY_TASK_ID" >&2',
        "exit 1",
    ]
    return "\n".join(lines) + "\n"
