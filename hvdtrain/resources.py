"""Where the files that ship with the package are, in a wheel and in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_folder(name: str) -> Path:
    """The folder of shipped files called `name`: systems, recipes, templates or jobs.

    A wheel carries all of them inside the package. A checkout keeps `templates` and `jobs` at
    its top level, where people look for them.

    Raises:
        FileNotFoundError: The installation is damaged: no such folder.
    """
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the folder {name!r} is missing from the installation of hvdtrain")
