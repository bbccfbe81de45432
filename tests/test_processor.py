from __future__ import annotations

import pytest

from hvdtrain.processor import itex_may_load, missing_for_itex, parse_processor_flags

CPUINFO = (
    "processor\t: 0\nmodel name\t: {model}\nflags\t\t: fpu sse2 avx2 {flags}\n\nprocessor\t: 1\n"
)


@pytest.mark.parametrize(
    ("model", "flags", "missing"),
    [
        ("Xeon Platinum 8160", "avx512f avx512dq avx512cd avx512bw avx512vl", ()),
        ("Xeon Phi 7250", "avx512f avx512pf avx512er avx512cd", ("avx512bw", "avx512vl")),
        ("EPYC 7763", "fma", ("avx512f", "avx512bw", "avx512vl")),
        # A hypervisor can hide single features.
        ("Xeon Gold 6148", "avx512f avx512bw", ("avx512vl",)),
    ],
)
def test_itex_loads_only_where_all_of_its_avx512_is(
    model: str, flags: str, missing: tuple[str, ...]
) -> None:
    found = parse_processor_flags(CPUINFO.format(model=model, flags=flags))
    assert "avx2" in found
    assert missing_for_itex(found) == missing
    assert itex_may_load(found) is (not missing)


def test_a_machine_that_names_no_flags_does_not_load_itex() -> None:
    assert not itex_may_load(parse_processor_flags("processor\t: 0\nBogoMIPS\t: 50.00\n"))
