"""What is said about a file that does not fit."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hvdtrain.errors import InputError
from hvdtrain.files.decode import convert, decode_toml, load_json, load_toml


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    count: int


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner
    many: list[Inner] = []

    def __post_init__(self) -> None:
        if len(self.many) > 1:
            raise ValueError("too many")


def test_a_mark_of_the_byte_order_is_no_text(tmp_path: Path) -> None:
    for name, text, load in (
        ("a.toml", "[inner]\ncount = 1\n", load_toml),
        ("a.json", '{"inner": {"count": 1}}', load_json),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert load(tmp_path / name, Outer).inner.count == 1


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("inner = {count = 'x'}", "f: inner.count", "'x'"),
        ("inner = {count = 1, cuont = 2}", "f: inner.cuont", "count"),
        ("inner = {count = 1}\nmany = [{count = 1}, {coutn = 2}]", "f: many[1].coutn", "count"),
        ("other = 1\ninner = {count = 1}", "f: other", "inner, many"),
        ("", "f", "missing required field `inner`"),
        ("inner = {count = 1}\nmany = [{count = 1}, {count = 2}]", "f", "too many"),
        ("inner = ", "f", "Invalid value"),
        ("x = " + "[" * 5000, "f", "nested"),
    ],
)
def test_the_place_and_the_reason_are_named(text: str, field: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        decode_toml(text, Outer, "f")
    assert caught.value.field == field
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_fits_is_decoded() -> None:
    assert decode_toml("inner = {count = 1}", Outer, "f") == Outer(Inner(1))
    assert convert({"inner": {"count": 2}}, Outer, "f").inner.count == 2


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"{"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "f.json"
    if content is not None:
        path.write_bytes(content)
    for load in (load_json, load_toml):
        with pytest.raises(InputError) as caught:
            load(path, Outer)
        assert caught.value.field == str(path)


def test_a_path_that_no_file_can_have_is_refused() -> None:
    for load in (load_json, load_toml):
        with pytest.raises(InputError, match="the path of a file"):
            load(Path("a\x00b"), Outer)
