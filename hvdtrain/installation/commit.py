"""The commit that this package was made from: of its checkout, or as it was packed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import hvdtrain

PACKAGE = Path(hvdtrain.__file__).resolve().parent
COMMIT_FILE = "commit"
"""In a packed installation, beside the modules: there is no checkout on a node."""


def read_git_commit() -> str | None:
    """The commit of the checkout that this package runs from; None when it is installed."""
    tree = PACKAGE.parent
    if not (tree / ".git").exists():
        packed = PACKAGE / COMMIT_FILE
        return packed.read_text() if packed.is_file() else None
    try:
        answer = subprocess.run(
            ["git", "-C", str(tree), "rev-parse", "--verify", "--quiet", "HEAD"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
