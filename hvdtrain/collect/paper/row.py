"""A row of one of the paper's tables, and what in it cannot be right."""

from __future__ import annotations

from typing import Literal

import msgspec

from hvdtrain.files.numbers import Percent, PositiveFloat, PositiveInt

Quantity = Literal[
    "work",
    "snapshot",
    "global_batch",
    "node_batch",
    "nodes",
    "sockets",
    "weight_decay",
    "collapse_weight_decay",
    "collapse",
    "iterations",
    "epochs",
    "loss",
    "top1_percent",
    "top5_percent",
    "top1_percent_8k",
    "top1_percent_16k",
    "top1_percent_32k",
    "top1_percent_48k",
    "top1_percent_64k",
    "minutes_to_train",
    "minutes_to_75_5_percent",
    "minutes_to_76_percent",
    "minutes_to_76_5_percent",
    "images_per_second",
    "epoch_seconds",
]


class Flag(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A printed value that the paper's own arithmetic or text disagrees with.

    Attributes:
        quantity: The field of the row whose value is in doubt.
        reason: What disagrees.
    """

    quantity: Quantity
    reason: str


class Printed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cell that is printed in another way than the rest of its column.

    Attributes:
        heading: Of the column, as printed.
        text: As printed.
    """

    heading: str
    text: str


class PaperRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row as printed. None: the table has no such column, or the cell is blank.

    Attributes:
        row: Counted from 1.
        work: Whose result it is.
        snapshot: Number in Figure 4; with a `c` after a collapse.
        global_batch: Images of all nodes in one update.
        node_batch: Images of a node in one update: the paper's local batch.
        nodes: None where the paper prints sockets.
        sockets: The paper's "# CPUs"; None where it prints nodes.
        weight_decay: Coupled L2 factor lambda, until the collapse where there is one.
        collapse_weight_decay: During the collapse.
        collapse: Whether the run ends with one.
        iterations: Updates of the run.
        epochs: Passes over the training images.
        loss: Cross-entropy on the validation images, in nats.
        top1_percent: Validation images whose first guess was right.
        top5_percent: With the right class among the first five guesses.
        top1_percent_8k: At a global batch of 8 x 1024.
        top1_percent_16k: Of 16 x 1024.
        top1_percent_32k: Of 32 x 1024.
        top1_percent_48k: Of 48 x 1024.
        top1_percent_64k: Of 64 x 1024.
        minutes_to_train: The paper's TTT.
        minutes_to_75_5_percent: Projected minutes to 75.5 % top-1.
        minutes_to_76_percent: To 76 %.
        minutes_to_76_5_percent: To 76.5 %.
        images_per_second: Training throughput of all nodes together.
        epoch_seconds: Seconds per epoch.
        recipe: What this project repeats the row with. Not printed.
        system: The machine of the row where the title of its table names none; from the text.
        as_printed: Cells that look other than the rest of their column.
        flag: Values that something in the paper disagrees with.
    """

    row: PositiveInt
    work: str | None = None
    snapshot: str | None = None
    global_batch: PositiveInt | None = None
    node_batch: PositiveInt | None = None
    nodes: PositiveInt | None = None
    sockets: PositiveInt | None = None
    weight_decay: PositiveFloat | None = None
    collapse_weight_decay: PositiveFloat | None = None
    collapse: Literal["yes", "no"] | None = None
    iterations: PositiveInt | None = None
    epochs: PositiveInt | None = None
    loss: PositiveFloat | None = None
    top1_percent: Percent | None = None
    top5_percent: Percent | None = None
    top1_percent_8k: Percent | None = None
    top1_percent_16k: Percent | None = None
    top1_percent_32k: Percent | None = None
    top1_percent_48k: Percent | None = None
    top1_percent_64k: Percent | None = None
    minutes_to_train: PositiveFloat | None = None
    minutes_to_75_5_percent: PositiveFloat | None = None
    minutes_to_76_percent: PositiveFloat | None = None
    minutes_to_76_5_percent: PositiveFloat | None = None
    images_per_second: PositiveFloat | None = None
    epoch_seconds: PositiveFloat | None = None
    recipe: str | None = None
    system: str | None = None
    as_printed: tuple[Printed, ...] = ()
    flag: tuple[Flag, ...] = ()

    def value(self, quantity: Quantity) -> float | str | None:
        """The value of a quantity as printed; None where the row has none."""
        value: float | str | None = getattr(self, quantity)
        return value

    def reason(self, quantity: Quantity) -> str | None:
        """What disagrees with the value; None: nothing."""
        reasons = [flag.reason for flag in self.flag if flag.quantity == quantity]
        return "; ".join(reasons) or None

    @property
    def flags(self) -> str | None:
        """What disagrees with any of its values; None: nothing."""
        return "; ".join(flag.reason for flag in self.flag) or None
