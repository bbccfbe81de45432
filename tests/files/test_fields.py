"""Names and lines that may go into a script."""

from __future__ import annotations

import os

import pytest

from hvdtrain.errors import InputError
from hvdtrain.files.fields import (
    printable,
    require_directive_name,
    require_line,
    require_name,
    require_word,
    unknown_name,
)

HOSTILE = ["", " ", "a b", "a\n", "\na", "a;b", "$(a)", "`a`", "a'b", 'a"b', "-a", "a\x00", "../a"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_is_nothing_but_a_name(text: str) -> None:
    for require in (require_name, require_word, require_directive_name):
        with pytest.raises(InputError) as caught:
            require("--job-name", text)
        assert caught.value.field == "--job-name"


def test_the_nearest_name_is_legal() -> None:
    with pytest.raises(InputError) as caught:
        require_name("--job-name", "my job; $(rm)")
    assert require_name("--job-name", caught.value.fix.removeprefix("use ")) == "my-job-rm"


def test_a_name_has_a_longest() -> None:
    assert require_name("x", "a" * 120) == "a" * 120
    with pytest.raises(InputError):
        require_name("x", "a" * 65, 64)


@pytest.mark.parametrize("text", ["", "a\nb", "a\r", "\x1b[0m", "\x7f", "\x85", "\u2028", "\udc80"])
def test_a_line_has_no_control_characters(text: str) -> None:
    with pytest.raises(InputError):
        require_line("--data", text)


@pytest.mark.parametrize("text", ["/my data/$(x)'\"", "~/é", "-rf", "#"])
def test_a_line_may_hold_anything_else(text: str) -> None:
    assert require_line("--data", text) == text


def test_the_most_similar_name_is_proposed() -> None:
    error = unknown_name("--system", "stampede2knl", ["local", "stampede2-knl"])
    assert error.fix == "--system stampede2-knl"


def test_printable_shows_what_it_takes_the_effect_from() -> None:
    assert printable("\x1b[2J\x9b\u202ex\udc80 ü") == "\\x1b[2J\\x9b\\u202ex\\udc80 ü"


def test_a_name_in_another_encoding_is_no_control_character() -> None:
    with pytest.raises(InputError) as caught:
        require_line("--data", os.fsdecode(b"/caf\xe9"))
    assert (caught.value.value, caught.value.allowed) == (b"/caf\xe9", "text in UTF-8")
