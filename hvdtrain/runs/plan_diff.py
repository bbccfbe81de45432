"""What differs between the plan of a run and the plan of its continuation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from hvdtrain.plan.method.run_plan import RunPlan

_SHOWN_CHARACTERS = 60


def plan_changes(old: RunPlan, new: RunPlan) -> list[str]:
    """The fields that changed, as `rank_batch: 32 -> 64`; empty: the run can go on as it was.

    The folder of the data may be another one, such as a fresh copy on the nodes: the data's
    fingerprint says whether the images are the same. Evaluations may be rarer, or more frequent.
    """
    before: dict[str, Any] = msgspec.to_builtins(old)
    after: dict[str, Any] = msgspec.to_builtins(new)
    for plan in (before, after):
        del plan["source"]["path"]
        # An evaluation changes nothing of the training.
        del plan["evaluate_epochs"]
    return list(_differences("", before, after))


def plan_sha256(plan: RunPlan) -> str:
    """The same for two plans that differ in nothing but the folder of the data."""
    source = msgspec.structs.replace(plan.source, path="")
    return hashlib.sha256(
        msgspec.json.encode(msgspec.structs.replace(plan, source=source), order="deterministic")
    ).hexdigest()


def _differences(path: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _differences(
                f"{path}.{key}" if path else key, before.get(key), after.get(key)
            )
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (left, right) in enumerate(zip(before, after, strict=True)):
            yield from _differences(f"{path}[{number}]", left, right)
    else:
        yield f"{path}: {_show(before)} -> {_show(after)}"


def _show(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}..."
