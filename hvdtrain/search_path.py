"""Where Python looks for modules: first in its own installation."""

from __future__ import annotations

import os
import site
from collections.abc import Sequence


def installed_first(folders: Sequence[str]) -> list[str]:
    """The folders of `sys.path`, those of the installation before all others.

    PYTHONPATH and the current folder come first where Python has its way. On a cluster they often
    hold modules of another Python, which then replace those that were installed with hvdtrain. As
    the last ones they can only add what is installed nowhere.
    """
    library = os.path.dirname(os.__file__)
    user = site.getusersitepackages() if site.ENABLE_USER_SITE else None
    packages = {*site.getsitepackages(), user}

    def is_other(folder: str) -> bool:
        is_library = folder == library or os.path.dirname(folder) == library
        return not is_library and folder not in packages and not folder.endswith(".zip")

    return sorted(folders, key=is_other)
