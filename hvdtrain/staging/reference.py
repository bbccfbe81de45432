"""Every node must have read the same bytes: the first one to be done says which."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hvdtrain.errors import RunError
from hvdtrain.files.atomic import create_file, run_errors


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the first node has.

    Attributes:
        host: Name of the node that was done first.
        sha256: SHA-256 over the names and contents of its files, hexadecimal.
    """

    host: str
    sha256: str


def check_reference(file: Path, mine: Reference) -> None:
    """Leave what this node has in a file, or compare it with what another one has left there.

    Args:
        file: On a file system that all nodes share.
        mine: Host and checksum of this node's copy.

    Raises:
        RunError: The other has other data, or the file cannot be written.
    """
    create_file(file, msgspec.json.encode(mine))
    try:
        with run_errors(f"{file} cannot be read"):
            first = msgspec.json.decode(file.read_bytes(), type=Reference)
    except msgspec.DecodeError as error:
        raise RunError(f"{str(file)!r} is damaged: {error}", "remove it") from None
    if first.sha256 != mine.sha256:
        raise RunError(
            f"the training data read here is not what {first.host} has read: its checksum is "
            f"{mine.sha256[:16]}, not {first.sha256[:16]}",
            f"where the data was changed on purpose, use another run or remove {file}; "
            "else look for a fault of the file system",
        )
