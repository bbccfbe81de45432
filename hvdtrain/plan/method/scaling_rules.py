"""Scaling rules: how the peak of the learning rate, and the warm-up, follow the global batch."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from hvdtrain.files.decode import FieldError
from hvdtrain.files.numbers import PositiveFactor, PositiveInt


class Scaling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule by name.

    With k = global_batch / base_batch, the peak is

        linear      base_lr k           Source: Section IV-D after Goyal et al.
        sqrt        base_lr sqrt(k)
        legw        base_lr sqrt(k)     Source: You et al., 1901.08256
        fixed-peak  peak_lr             Source: Section V-C, 6.4 for 16K and above

    and never above `max_peak_lr`. Under legw the first phase is the warm-up, with its epochs for
    `base_batch`: it becomes k times as long, and the second phase gives or takes the difference.

    Attributes:
        rule: Its name.
        base_lr: Learning rate for `base_batch`. Source: Section IV-D, 0.1.
        base_batch: Source: the same, 256.
        max_peak_lr: Cap of the peak; None: no cap.
        peak_lr: The peak of fixed-peak; None with every other rule.
    """

    rule: Literal["linear", "sqrt", "legw", "fixed-peak"] = "linear"
    base_lr: PositiveFactor = 0.1
    base_batch: PositiveInt = 256
    max_peak_lr: PositiveFactor | None = None
    peak_lr: PositiveFactor | None = None

    def __post_init__(self) -> None:
        fixed = self.rule == "fixed-peak"
        if fixed and self.peak_lr is None:
            raise FieldError("peak_lr", None, "the peak that the rule fixed-peak keeps")
        if fixed and self.max_peak_lr is not None:
            raise FieldError("max_peak_lr", self.max_peak_lr, "no cap: the peak is fixed")
        if not fixed and self.peak_lr is not None:
            raise FieldError("peak_lr", self.peak_lr, 'only with rule = "fixed-peak"')

    def peak_lr_for(self, global_batch: int) -> float:
        """The peak learning rate for a global batch."""
        if self.peak_lr is not None:
            return self.peak_lr
        if self.rule == "linear":
            # Multiplied first: 0.1 * 8192 / 256 is exactly 3.2.
            peak = self.base_lr * global_batch / self.base_batch
        else:
            peak = self.base_lr * math.sqrt(global_batch / self.base_batch)
        return peak if self.max_peak_lr is None else min(peak, self.max_peak_lr)

    def warm_up_factor(self, global_batch: int) -> float:
        """By how much the first phase gets longer."""
        return global_batch / self.base_batch if self.rule == "legw" else 1.0
