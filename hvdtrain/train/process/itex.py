"""Intel's TensorFlow extension: on the path only where the processor can run it."""

from __future__ import annotations

import sys
from pathlib import Path

from hvdtrain.processor import itex_may_load, read_processor_flags
from hvdtrain.stack import itex_folder

_DISTRIBUTION = "intel_extension_for_tensorflow"


def enable_itex() -> str | None:
    """Let TensorFlow load the extension where it may. Call before TensorFlow is imported.

    Returns:
        The extension's version, or None when it stays out.
    """
    folder = itex_folder(Path(sys.prefix))
    metadata = sorted(folder.glob(f"{_DISTRIBUTION}-*.dist-info"))
    if not metadata or not itex_may_load(read_processor_flags()):
        return None
    sys.path.append(str(folder))
    return metadata[0].name.removeprefix(f"{_DISTRIBUTION}-").removesuffix(".dist-info")
