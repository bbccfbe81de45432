"""Files of records to test with."""

from __future__ import annotations

import struct
from pathlib import Path


def write_frames(path: Path, records: list[bytes]) -> None:
    """Frames with empty checksums, which only reading the records would look at."""
    frames = [struct.pack("<Q", len(data)) + bytes(4) + data + bytes(4) for data in records]
    path.write_bytes(b"".join(frames))
