"""One short hash of what a data set consists of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def fingerprint(parts: Iterable[object]) -> str:
    """Sixteen hexadecimal digits over the text of every part, order included."""
    digest = hashlib.sha256()
    for part in parts:
        # The length goes first, so that ("ab", "c") and ("a", "bc") differ.
        text = str(part).encode("utf-8", "surrogateescape")
        digest.update(f"{len(text)}:".encode() + text)
    return digest.hexdigest()[:16]
