"""An installation that was packed into one file, as a script has to know it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hvdtrain.files.fields import Folder
from hvdtrain.files.numbers import PositiveInt

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file, and what it was made from.

    Attributes:
        file: Its whole path.
        sha256: Of the file.
        fingerprint: Of the installation that was packed; another one now means an outdated file.
        size_bytes: Of the file.
        unpacked_bytes: Of what is in it.
        files: How many files that are.
    """

    file: Folder
    sha256: Sha256
    fingerprint: Sha256
    size_bytes: PositiveInt
    unpacked_bytes: PositiveInt
    files: PositiveInt
