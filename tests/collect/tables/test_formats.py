"""The table as text, and that nothing in a record is taken for markup or a terminal's command."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Sequence
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.collect.runs import make_run
from hvdtrain.collect.tables.formats import Format, format_tables
from hvdtrain.collect.tables.runs_table import Row, make_rows, make_runs_table
from hvdtrain.files.fields import printable
from hvdtrain.runs.record import Record
from hvdtrain.runs.store import Incomplete
from tests.collect.records import make_record, make_test_plan

RUNS: list[Record | Incomplete] = [
    make_record("knl-1024", plan=make_test_plan(nodes=1024), images_per_second=52_000.0),
    make_record("knl-256", epoch_seconds=(120.0, 86.7, 86.7)),
    Incomplete(run_id="cut-off", plan=make_test_plan(nodes=1536)),
]
ROWS = make_rows(map(make_run, RUNS))

MARKDOWN = """\
| run      | label      | system        | model                     | local batch | nodes | s/epoch | s/epoch from | images/s | speedup | efficiency % | base    | paper   | paper s/epoch | difference % | paper images/s |
| -------- | ---------- | ------------- | ------------------------- | ----------: | ----: | ------: | ------------ | -------: | ------: | -----------: | ------- | ------- | ------------: | -----------: | -------------: |
| knl-256  | measured   | stampede2-knl | resnet50-v1/224/1000/fp32 |          32 |   256 |    86.7 | epochs       |  15000.0 |     1.0 |        100.0 | knl-256 | Table V |            85 |         +2.0 |                |
| knl-1024 | measured   | stampede2-knl | resnet50-v1/224/1000/fp32 |          32 |  1024 |    85.0 | epochs       |  52000.0 |     3.5 |         86.7 | knl-256 | Table V |          24.5 |       +246.9 |                |
| cut-off  | incomplete | stampede2-knl | resnet50-v1/224/1000/fp32 |          32 |  1536 |         |              |          |         |              |         |         |               |              |                |
"""  # noqa: E501 - compared whole


def format_rows(rows: Sequence[Row], form: Format) -> str:
    return format_tables([make_runs_table(rows)], form)


def row_named(run_id: str) -> Row:
    return msgspec.structs.replace(ROWS[0], run_id=run_id, efficiency_base=run_id)


def test_markdown_is_a_table_that_lines_up() -> None:
    assert format_rows(ROWS, "md") == MARKDOWN


def test_json_has_every_field_under_its_own_name() -> None:
    objects = json.loads(format_rows(ROWS, "json"))
    assert [msgspec.convert(entry, Row) for entry in objects] == ROWS
    assert all(tuple(entry) == Row.__struct_fields__ for entry in objects)


def test_csv_has_every_field_unrounded() -> None:
    lines = list(csv.DictReader(io.StringIO(format_rows(ROWS, "csv"))))
    assert tuple(lines[0]) == Row.__struct_fields__
    for line, row in zip(lines, ROWS, strict=True):
        expected = msgspec.structs.asdict(row)
        assert line == {key: "" if v is None else str(v) for key, v in expected.items()}


def test_latex_has_a_cell_for_every_column() -> None:
    lines = format_rows(ROWS, "latex").splitlines()
    assert lines[1] == r"\begin{tabular}{llllrrrlrrrllrrr}"
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 1 + len(ROWS)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {15}
    assert r"efficiency \%" in rows[0]


def test_html_is_a_table_with_headings_and_numbers_marked() -> None:
    text = format_rows(ROWS, "html")
    assert text.startswith('<table>\n<thead>\n<tr><th scope="col">run</th>')
    assert text.endswith("</tbody>\n</table>\n")
    assert text.count("<tr>") == 1 + len(ROWS)
    assert text.count("<td") == 16 * len(ROWS)
    assert '<td class="number">86.7</td>' in text


def test_titles_and_notes_are_printed_and_escaped() -> None:
    table = dataclasses.replace(make_runs_table(ROWS), title="a_b* <i>", notes=("* 5 %", "x & y"))
    markdown, latex, page = (format_tables([table], form) for form in ("md", "latex", "html"))
    assert markdown.startswith("### a_b\\* \\<i\\>\n\n| run")
    assert markdown.endswith("\n\n\\* 5 %\n\nx \\& y\n")
    assert r"\par * 5 \%" in latex
    assert "<caption>a_b* &lt;i&gt;</caption>" in page
    assert '<tfoot><tr><td colspan="16">* 5 %<br>x &amp; y</td></tr></tfoot>' in page


def test_several_tables_are_one_object_by_name() -> None:
    table = make_runs_table(ROWS[:1])
    named = [dataclasses.replace(table, name=name, title=f"Table {name}") for name in ("V", "VI")]
    found = json.loads(format_tables(named, "json"))
    assert list(found) == ["V", "VI"]
    assert found["VI"]["title"] == "Table VI"
    assert found["V"]["rows"][0]["run_id"] == "knl-256"
    parts = format_tables(named, "csv").split("\n\n")
    assert [part.splitlines()[0] for part in parts] == [",".join(Row.__struct_fields__)] * 2


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("md", "".join(MARKDOWN.splitlines(keepends=True)[:2])),
        ("csv", ",".join(Row.__struct_fields__) + "\n"),
        ("json", "[]\n"),
    ],
)
def test_no_runs_still_give_a_header(form: Format, text: str) -> None:
    assert re.sub(" +|-+", "", format_rows([], form)) == re.sub(" +|-+", "", text)


@pytest.mark.parametrize(
    ("form", "escaped"),
    [
        ("md", r"a\|b\_ \*c\* \<i\> run_1 \\"),
        ("latex", r"a\textbar{}b\_ *c* \textless{}i\textgreater{} run\_1 \textbackslash{}"),
        ("csv", "a|b_ *c* <i> run_1 \\"),
        ("html", "a|b_ *c* &lt;i&gt; run_1 \\"),
        ("json", '"a|b_ *c* <i> run_1 \\\\"'),
    ],
)
def test_markup_in_a_name_is_escaped(form: Format, escaped: str) -> None:
    assert escaped in format_rows([row_named("a|b_ *c* <i> run_1 \\")], form)


def test_markdown_leaves_alone_what_is_no_markup() -> None:
    text = "run_1_a (?) 2.2 h (<= 2.4 h), 5 < 6"
    assert f"| {text} |" in format_rows([row_named(text)], "md")


def test_latex_escapes_every_special_character() -> None:
    text = format_rows([row_named("&%$#_{}~^")], "latex")
    assert r"\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}" in text


@pytest.mark.parametrize("form", get_args(Format))
@given(name=st.text())
def test_no_character_reaches_the_terminal_as_a_command(form: Format, name: str) -> None:
    text = format_rows([row_named(name)], form)
    assert text.replace("\n", "").isprintable()
    assert text.encode("utf-8")


@given(name=st.text())
def test_the_shape_of_the_table_does_not_depend_on_a_name(name: str) -> None:
    rows = [row_named(name)]
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", format_rows(rows, "md").splitlines()[2])
    assert len(cells) == 18
    parsed = list(csv.DictReader(io.StringIO(format_rows(rows, "csv"))))
    assert [line["run_id"] for line in parsed] == [printable(name)]
    assert json.loads(format_rows(rows, "json"))[0]["run_id"] == name


def test_printable_shows_what_it_takes_the_effect_from() -> None:
    assert printable("\x1b[2J\x9b\u202ex\udc80 ü") == "\\x1b[2J\\x9b\\u202ex\\udc80 ü"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.004, "0.004"), (7.34, "7.3"), (104159.9, "104159.9"), (1e300, "1e+300")]
)
def test_small_and_large_numbers_stay_readable(value: float, shown: str) -> None:
    row = msgspec.structs.replace(ROWS[0], images_per_second=value)
    assert f" {shown} " in format_rows([row], "md").splitlines()[2]
