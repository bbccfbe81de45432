"""Scaling rules."""

from __future__ import annotations

import pytest

from hvdtrain.files.decode import FieldError
from hvdtrain.plan.method.scaling_rules import Scaling


@pytest.mark.parametrize(
    ("scaling", "global_batch", "peak_lr"),
    [
        # Source: Section IV-D, 0.1 per 256; Section V-C, 6.4 from 16K on.
        (Scaling(), 8192, 3.2),
        (Scaling(max_peak_lr=6.4), 8192, 3.2),
        (Scaling(max_peak_lr=6.4), 16_384, 6.4),
        (Scaling(max_peak_lr=6.4), 49_152, 6.4),
        (Scaling(rule="fixed-peak", peak_lr=6.4), 256, 6.4),
        (Scaling(rule="fixed-peak", peak_lr=6.4), 65_536, 6.4),
        (Scaling(rule="sqrt"), 1024, 0.2),
        (Scaling(rule="sqrt", max_peak_lr=0.15), 1024, 0.15),
        # Source: 1901.08256, ResNet-50: 4 at 512, 16 at 8K, 32 at 32K.
        (Scaling(rule="legw", base_lr=4, base_batch=512), 8192, 16.0),
        (Scaling(rule="legw", base_lr=4, base_batch=512), 32_768, 32.0),
    ],
)
def test_the_peak(scaling: Scaling, global_batch: int, peak_lr: float) -> None:
    assert scaling.peak_lr_for(global_batch) == pytest.approx(peak_lr, rel=1e-15)


def test_only_legw_changes_the_warm_up() -> None:
    # Source: 1901.08256, ResNet-50: 10/64 epochs at 512, 2.5 at 8K, 10 at 32K.
    legw = Scaling(rule="legw", base_lr=4, base_batch=512)
    assert [10 / 64 * legw.warm_up_factor(batch) for batch in (512, 8192, 32_768)] == [
        0.15625,
        2.5,
        10,
    ]
    assert Scaling(rule="sqrt").warm_up_factor(8192) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"rule": "fixed-peak"}, "peak_lr"),
        ({"peak_lr": 1.0}, "peak_lr"),
        ({"rule": "fixed-peak", "peak_lr": 1.0, "max_peak_lr": 2.0}, "max_peak_lr"),
    ],
)
def test_a_peak_belongs_to_its_rule(fields: dict[str, object], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        Scaling(**fields)  # type: ignore[arg-type]
    assert caught.value.field == field
