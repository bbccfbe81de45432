"""The points of the paper's Figures 1 to 4 that its text, captions and tables give.

The drawings themselves are not read off: what is only drawn has no point here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, get_args

import msgspec

from hvdtrain.files.decode import load_toml
from hvdtrain.files.numbers import NonNegativeFloat

FigureNumber = Literal[1, 2, 3, 4]

FIGURES: tuple[FigureNumber, ...] = get_args(FigureNumber)

_FOLDER = Path(__file__).resolve().parent


class PaperAxis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an axis, or the values of a series, count and in which unit; `1`: a ratio."""

    quantity: Literal[
        "nodes",
        "sockets",
        "epoch",
        "speedup",
        "learning_rate",
        "weight_decay",
        "peak_share",
        "top1_percent",
    ]
    unit: Literal["nodes", "sockets", "epochs", "1", "%"]


class PaperPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A point.

    Attributes:
        x: Where it is; the lower end where the paper gives a range.
        x_high: The upper end of that range; None: no range.
        y: Its value.
        bound: `exact`: as given or calculated from printed values; `about` and `at_least`: in
            the words of the text.
        source: Where the paper gives it, and the calculation where there is one.
        flag: What in the paper disagrees with it; None: nothing.
    """

    x: NonNegativeFloat
    x_high: NonNegativeFloat | None = None
    y: NonNegativeFloat
    bound: Literal["exact", "about", "at_least"] = "exact"
    source: str
    flag: str | None = None


class PaperSeries(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Points of one kind.

    Attributes:
        name: For a legend.
        values: What `y` is.
        node_batch: Local batch of all points; None: it varies or is not given.
        base: Nodes or sockets whose speedup is 1; None: `y` is no speedup.
        point: In order of `x`.
    """

    name: str
    values: PaperAxis
    node_batch: int | None = None
    base: int | None = None
    point: tuple[PaperPoint, ...]


class PaperFigure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A figure.

    Attributes:
        figure: Its number in the paper.
        title: Its caption.
        section: Where the text speaks of it.
        system: The system file that describes the machine; None: the text names none.
        x_axis: What `x` of all points is.
        series: What is drawn in it.
    """

    figure: FigureNumber
    title: str
    section: str
    system: str | None = None
    x_axis: PaperAxis
    series: tuple[PaperSeries, ...]


@cache
def load_paper_figure(number: FigureNumber) -> PaperFigure:
    """Figure 1 (Stampede2), 2 (MareNostrum 4), 3 (batch of 64K) or 4 (collapsed ensemble)."""
    return load_toml(_FOLDER / f"figure-{number}.toml", PaperFigure)
