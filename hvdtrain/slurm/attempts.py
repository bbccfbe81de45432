"""What a job knows of its own starts, kept in the folder of its run."""

from __future__ import annotations
