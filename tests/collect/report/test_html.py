"""The page as HTML: well formed, escaped, and allowed to do nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re
from pathlib import Path

import msgspec
import pytest

from hvdtrain.collect.report.html import Live, render_page
from hvdtrain.collect.report.page import Page, Source, make_page
from hvdtrain.files.fields import printable
from hvdtrain.runs.record import Straggler, Versions
from tests.collect.records import make_record, make_test_plan, write_metrics, write_record
from tests.collect.report.samples import metrics, page_of, write_results

VOID = {"br", "link", "meta"}


class Outline(html.parser.HTMLParser):
    """Which elements there are, that each is closed, and every id and link."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.events: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        assert len(values) == len(attrs)
        self.events += [name for name in values if name.startswith("on") or name == "style"]
        if "id" in values:
            self.ids.append(values["id"] or "")
        if "href" in values and tag == "a":
            self.links.append(values["href"] or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    results = tmp_path_factory.mktemp("results")
    write_results(results)
    return page_of(results)


def test_the_page_is_well_formed_and_every_link_leads_somewhere(page: Page) -> None:
    outline = Outline(render_page(page))
    assert len(outline.ids) == len(set(outline.ids))
    assert {link.removeprefix("#") for link in outline.links} <= set(outline.ids)
    assert outline.events == []
    assert outline.tags.count("h1") == 1
    assert {"header", "nav", "main", "footer", "caption"} <= set(outline.tags)


def test_the_page_names_nothing_outside_itself(page: Page) -> None:
    text = render_page(page)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)


def test_the_policy_allows_this_style_and_this_script_alone(page: Page) -> None:
    text = render_page(page)
    found = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert found is not None
    policy = html.unescape(found[1])
    for tag in ("style", "script"):
        (inner,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "connect-src" not in policy
    assert "connect-src 'self'" in html.unescape(render_page(page, Live(state="1", seconds=1)))


def test_what_could_not_be_read_is_named(page: Page) -> None:
    text = render_page(page)
    assert "broken/record.json" in text
    assert "Input data was truncated" in text


def test_a_run_has_its_script_its_versions_and_its_ranks(page: Page) -> None:
    run = next(run for run in page.pages if run.run_id == "knl-512")
    assert run.script == ("#!/bin/bash", "#SBATCH --nodes=256", "        srun hvdtrain train")
    assert ("tensorflow", "2.15.1") in run.versions
    assert ("git commit", "0123abcd") in run.versions
    assert [chart.title for chart in run.charts] == [
        "Loss",
        "Throughput",
        "Where the wall time went",
    ]
    epochs, ranks = run.grids
    assert [cell.text for cell in epochs.rows[2]][:4] == ["3", "79", "47.9", "27021.6"]
    assert [cell.text for cell in ranks.rows[0]] == [
        "0-511",
        "c0000, c0001, c0002, c0003 and 508 more",
        "0-63",
        "64-67",
        "133-135",
    ]


def hostile(results: Path, text: str) -> Page:
    """A run with a text wherever a record may have one."""
    plan = make_test_plan(system=text)
    recipe = msgspec.structs.replace(plan.recipe, title=text)
    source = msgspec.structs.replace(plan.source, path=text)
    plan = msgspec.structs.replace(plan, recipe=recipe, source=source)
    names = dict.fromkeys(Versions.__struct_fields__, text)
    record = make_record(
        "run",
        plan=plan,
        started=text,
        failure=text,
        status="failed",
        hosts=(text,),
        git_commit=text,
        slurm_job_id=text,
        versions=Versions(**names),
    )
    record = msgspec.structs.replace(record, run_id=text)
    return make_page(
        Source(results=results, runs=[record], ensembles=[], skipped=[], made="now", version=text)
    )


def test_slow_ranks_are_named_slowest_first(tmp_path: Path) -> None:
    slow = [Straggler(rank=n, host=f"c{n}", seconds=0.5, ratio=1.2 + n / 10) for n in (1, 2)]
    record = make_record("run")
    epoch = msgspec.structs.replace(record.epochs[0], stragglers=tuple(slow))
    write_record(tmp_path, msgspec.structs.replace(record, epochs=(epoch,)))
    (run,) = page_of(tmp_path).pages
    grid = next(grid for grid in run.grids if grid.name.endswith("-slow"))
    shown = [[cell.text for cell in row] for row in grid.rows]
    assert shown == [["1", "2", "c2", "0.5", "1.4"], ["1", "1", "c1", "0.5", "1.3"]]


def test_the_time_of_every_rank_is_drawn(tmp_path: Path) -> None:
    record = msgspec.structs.replace(make_record("run"), rank_seconds=(0.5, 0.75))
    write_record(tmp_path, record)
    (run,) = page_of(tmp_path).pages
    assert [chart.title for chart in run.charts] == ["Time of each rank"]


HOSTILE = (
    "<script>alert(1)<script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "--><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}&lt;b&gt;",
    "\u202e\x1b[2J\udcff\n]]>",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_record_makes_an_element(tmp_path: Path, text: str) -> None:
    html_text = render_page(hostile(tmp_path, text))
    harmless = Outline(render_page(hostile(tmp_path, "x")))
    outline = Outline(html_text)
    assert outline.tags == harmless.tags
    assert outline.events == []
    assert (
        html.escape(printable(text)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
        in html_text
    )


def test_a_curve_has_no_more_points_than_a_page_can_show(tmp_path: Path) -> None:
    plan = make_test_plan()
    write_metrics(write_record(tmp_path, make_record("run", plan=plan)).parent, metrics(plan, 2000))
    (run,) = page_of(tmp_path).pages
    points = [
        line.path.count("L")
        for chart in run.charts
        for panel in chart.panels
        for line in panel.lines
    ]
    assert 300 < max(points) <= 400
