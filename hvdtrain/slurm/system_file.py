"""A system as the text of its file."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hvdtrain.files.toml import toml_lines
from hvdtrain.plan.machine.system import System


def format_system(system: System) -> str:
    """The file of a system: what has its default is left out."""
    lines = list(_values(system))
    for name in ("node", "cores", "slurm"):
        part = getattr(system, name)
        if part is not None:
            lines += ["", f"[{name}]", *_values(part)]
            for key, table in _tables(part):
                lines += ["", f"[{name}.{key}]", *toml_lines(table)]
    for entry in system.partition:
        lines += ["", "[[partition]]", *_values(entry)]
    return "\n".join(lines) + "\n"


def _values(struct: msgspec.Struct) -> Iterator[str]:
    """The lines of what is neither a table nor has its default."""
    plain = {
        field.name: getattr(struct, field.name)
        for field in msgspec.structs.fields(struct)
        if getattr(struct, field.name) != field.default
    }
    yield from toml_lines(
        {
            key: value
            for key, value in plain.items()
            if value is not None
            and not isinstance(value, dict | msgspec.Struct)
            and not (isinstance(value, tuple) and any(isinstance(v, msgspec.Struct) for v in value))
        }
    )


def _tables(struct: msgspec.Struct) -> Iterator[tuple[str, dict[str, object]]]:
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if isinstance(value, dict) and value:
            yield field.name, value
