"""A column of one of the paper's tables, and how its cells are printed."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hvdtrain.collect.paper.row import Quantity

Unit = Literal["images", "nodes", "sockets", "updates", "epochs", "images/s", "s", "min"]


class PaperColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A column.

    Attributes:
        heading: In the paper.
        quantity: What a cell holds: one value, or two as in `14200 (90)`.
        unit: Of each quantity; `1`: a name, a yes or no, or a pure number.
        form: A cell, with `{}` for each quantity.
        decimals: Digits behind the point; None: as many as a number needs.
        blank: What is printed where there is no value.
    """

    heading: str
    quantity: Annotated[tuple[Quantity, ...], Meta(min_length=1, max_length=2)]
    unit: tuple[Unit | Literal["1", "%", "nats"], ...]
    form: str = "{}"
    decimals: Annotated[int, Meta(ge=0, le=9)] | None = None
    blank: str = ""

    def __post_init__(self) -> None:
        if not len(self.quantity) == len(self.unit) == self.form.count("{}"):
            raise ValueError(f"{self.heading}: quantity, unit and form do not fit together")

    def format_values(self, *values: float | str | None, decimals: int | None = None) -> str:
        """A cell with these values, one for each quantity; those that are None are left out.

        Args:
            values: In the order of `quantity`.
            decimals: Digits behind the point where the column has no number of its own.
        """
        digits = decimals if self.decimals is None else self.decimals
        texts = [_text(value, digits) for value in values if value is not None]
        if len(texts) == len(self.quantity):
            return self.form.format(*texts)
        return " ".join(texts) or self.blank


def _text(value: float | str, decimals: int | None) -> str:
    if isinstance(value, str):
        return value
    if decimals is not None and not isinstance(value, int):
        return f"{value:.{decimals}f}"
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")
