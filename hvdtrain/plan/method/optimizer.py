"""The optimizer of a recipe: which one, and its constants."""

from __future__ import annotations

import msgspec

from hvdtrain.files.numbers import Fraction, FractionBelowOne, PositiveFactor


class SgdSpec(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="sgd",
):
    """Stochastic gradient descent with momentum.

    Attributes:
        momentum: Source: Section IV-B, 0.9.
        nesterov: Whether the step looks ahead along the momentum.
    """

    momentum: FractionBelowOne = 0.9
    nesterov: bool = False


class LarsSpec(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="lars",
):
    """LARS: momentum with a rate for each layer. Source: You et al. (2017), arXiv 1708.03888.

    Attributes:
        momentum: Share of the buffer that is kept from step to step.
        trust: eta, the length of a step as a share of the length of the weights.
        epsilon: Added to the denominator of the ratio.
    """

    momentum: FractionBelowOne = 0.9
    trust: PositiveFactor = 0.001
    epsilon: Fraction = 0.0


class LambSpec(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="lamb",
):
    """LAMB: Adam with a rate for each layer. Source: You et al. (2019), arXiv 1904.00962.

    Attributes:
        beta1: Decay of the mean of the gradients.
        beta2: Decay of the mean of their squares.
        epsilon: Added to the root of the second mean.
        bias_correction: Whether the means are corrected for having started at 0. The authors'
            own ResNet-50 runs did without.
        clip_norm: Longest gradient over all variables; a longer one is shortened to it. None: any
            length. The authors' own ResNet-50 runs took 1.0.
    """

    beta1: FractionBelowOne = 0.9
    beta2: FractionBelowOne = 0.999
    epsilon: Fraction = 1e-6
    bias_correction: bool = True
    clip_norm: PositiveFactor | None = None


OptimizerSpec = SgdSpec | LarsSpec | LambSpec


def is_regularised(rank: int) -> bool:
    """Whether weight decay and the ratio of LARS and LAMB apply to a variable.

    The number of dimensions decides, never a name: kernels have two or more; biases, and the
    scales and offsets of normalisation, have one or none.

    >>> [is_regularised(rank) for rank in (0, 1, 2, 4)]
    [False, False, True, True]
    """
    return rank > 1
