"""The answer to one question about an installation or a machine."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["ok", "warn", "fail", "skipped"]


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of `hvdtrain doctor`.

    Attributes:
        name: What was checked, in one or two words.
        status: `warn`: works, or is needed only for some commands; `skipped`: does not apply here.
        detail: What was found, on one line.
        fix: What to do about it; only `fail` and `warn` have one.
    """

    name: str
    status: Status
    detail: str
    fix: str = ""
