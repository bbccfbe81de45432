"""Values cannot leave their word, their comment or their directive."""

from __future__ import annotations

import shlex
import subprocess

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.errors import InputError
from hvdtrain.slurm.quoting import (
    Shell,
    comment,
    directive,
    finalize,
    quote_words,
    refuse_quoted_values,
)
from hvdtrain.slurm.render import ScriptEnvironment

ANY_LINE = st.text(
    st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=40
)


@given(ANY_LINE)
def test_text_becomes_one_word(text: str) -> None:
    assert shlex.split(finalize(text)) == [text]
    assert shlex.split(quote_words([text, "x", text])) == [text, "x", text]


@settings(max_examples=30)
@given(ANY_LINE)
def test_bash_agrees(text: str) -> None:
    printed = subprocess.run(
        ["bash", "-c", f"printf %s {finalize(text)}"], capture_output=True, check=True
    ).stdout
    assert printed.decode() == text


@pytest.mark.parametrize("text", ["a\nb", "\r", "\x00", "\x1b", "\x7f", "\u2028"])
def test_control_characters_go_nowhere(text: str) -> None:
    for place in (finalize, comment, lambda value: directive("comment", value)):
        with pytest.raises(InputError):
            place(text)


def test_numbers_are_printed_as_they_are_and_nothing_else_is() -> None:
    assert finalize(3) == "3"
    assert finalize(Shell("$x")) == "$x"
    for value in (None, True, ["a"], {"a": 1}, b"a"):
        with pytest.raises(TypeError):
            finalize(value)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("requeue", "", "#SBATCH --requeue"),
        ("nodes", "4", "#SBATCH --nodes=4"),
        ("output", "%x-%j.out", "#SBATCH --output=%x-%j.out"),
        ("comment", "two words", '#SBATCH --comment="two words"'),
        ("comment", 'a"b\\c#d', '#SBATCH --comment="a\\"b\\\\c#d"'),
        ("chdir", ".", "#SBATCH -D ."),
    ],
)
def test_directives(name: str, value: str, line: str) -> None:
    assert directive(name, value) == line


def render(source: str, **values: object) -> str:
    loader = jinja2.DictLoader({"base": "{% block b %}x={{ v }}{% endblock %}", "t": source})
    return ScriptEnvironment(loader).get_template("t").render(values)


HOSTILE = "$(touch x)'\"; `y`"


@pytest.mark.parametrize(
    "source",
    [
        "{{ v }}",
        "{{ v | upper | lower | replace('a', 'a') }}",
        "{% set w = v %}{{ w }}",
        "{% set w %}{{ v }}{% endset %}{{ w }}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(v) }}",
        "{{ [v] | words }}",
        "{{ v | safe }}",
        "{% filter trim %}{{ v }}{% endfilter %}",
    ],
)
def test_whatever_a_template_does_a_value_stays_one_word(source: str) -> None:
    words = shlex.split(render(source, v=HOSTILE))
    # A filter over printed text quotes it once more: strange, but still one word.
    assert len(words) == 1
    assert words[0] in (HOSTILE, shlex.quote(HOSTILE))


def test_what_a_block_printed_is_not_quoted_again() -> None:
    assert render('{% extends "base" %}{% block b %}{{ super() }} z{% endblock %}', v="a b") == (
        "x='a b' z"
    )


def test_values_joined_by_hand_are_one_word() -> None:
    assert shlex.split(render("{{ v ~ ' ' ~ v }}", v=HOSTILE)) == [f"{HOSTILE} {HOSTILE}"]


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("{{ missing }}")


@pytest.mark.parametrize(
    "source",
    [
        'echo "{{ v }}"',
        "echo '{{ v }}'",
        "echo `{{ v }}`",
        'echo "a\nb {{ v }}"',
        'echo "\\"{{ v }}"',
        "echo 'a\\'b'{{ v }}'",
        'x="# {{ v }}"',
        "cat <<EOF\n{{ v }}\nEOF",
        "cat <<-'EOF'\n{{ v }}\nEOF",
    ],
)
def test_a_value_inside_quotes_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"line \d"):
        refuse_quoted_values(source)
    with pytest.raises(jinja2.TemplateError):
        render(source, v="x")


@pytest.mark.parametrize(
    "source",
    [
        "# don't: {{ v | comment }}\necho {{ v }}",
        "echo \"a\" {{ v }} 'b'",
        '{% if x == "it\'s" %}echo {{ v }}{% endif %}',
        "{# it's #}echo {{ v }}",
        "echo \\' {{ v }}",
        "p='\n# it is\n\"'; echo {{ v }}",
        'read x <<<"$y"; echo {{ v }}',
    ],
)
def test_a_value_beside_quotes_is_not(source: str) -> None:
    refuse_quoted_values(source)
