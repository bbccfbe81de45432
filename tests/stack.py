"""Loaded by pytest before all else (`-p` in pyproject.toml): the stack for Horovod in tests.

Here and not in conftest.py, because pytest starts to capture output before it reads that one.
"""

from __future__ import annotations

from hvdtrain.stack import ensure_stack

ensure_stack()
