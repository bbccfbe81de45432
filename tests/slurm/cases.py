"""How many cases each fuzz test gets: a share of HVDTRAIN_CASES, which CI sets to 10,000."""

from __future__ import annotations

import os

TOTAL = int(os.environ.get("HVDTRAIN_CASES", "500"))

# In percent. The first two run every script, which takes as long as making fifty.
SHARES = {
    "run paths": 2,
    "run system files": 2,
    "names": 6,
    "options": 10,
    "texts": 20,
    "job files": 30,
    "system files": 30,
}


def cases(name: str) -> int:
    """Cases of one test."""
    return max(1, TOTAL * SHARES[name] // 100)
