"""The report in a real browser: it shows what the records say, and obeys none of them.

Needs Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hvdtrain.collect.report.html import Live, render_page
from hvdtrain.collect.report.serve import ReportServer
from hvdtrain.collect.runs import make_run
from hvdtrain.collect.tables.runs_table import make_rows
from hvdtrain.runs.store import Malformed, read_results
from tests.collect.records import make_record, make_test_plan, write_record
from tests.collect.report.samples import SCRIPT, page_of, write_results

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

SHOWN_TABLE = """
const table = document.getElementById("runs");
const fields = [...table.tHead.rows[0].cells].map((head) => head.dataset.field);
return [...table.tBodies[0].rows].map((row) => Object.fromEntries(
  [...row.cells].map((cell, i) => [fields[i], cell.dataset.value ?? cell.textContent])));
"""
COLUMN = """
const table = document.getElementById(arguments[0]);
return [...table.tBodies[0].rows].map((row) => row.cells[arguments[1]].textContent);
"""
# Text that is shown, with its colour and that of what it lies on.
COLOURS = """
const found = new Set();
const seen = (element) => element.checkVisibility() && element.getClientRects().length > 0;
for (const element of document.body.querySelectorAll("*")) {
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !seen(element) || ["SCRIPT", "title", "desc"].includes(element.tagName)) continue;
  const style = getComputedStyle(element);
  const isSvg = element instanceof SVGElement;
  let below = element, ground = "rgba(0, 0, 0, 0)";
  const box = element.closest(".core")?.querySelector("path");
  if (box && getComputedStyle(box).fill !== "none") ground = getComputedStyle(box).fill;
  while (ground === "rgba(0, 0, 0, 0)" && below) {
    ground = getComputedStyle(below).backgroundColor;
    below = below.parentElement;
  }
  found.add(JSON.stringify([isSvg ? style.fill : style.color, ground, element.tagName]));
}
return [...found];
"""
# As people sort: 256 before 1024.
NAMES = ["dry-run", "failed", "knl-256", "knl-512", "knl-1024", "running"]
OPEN_ALL = "for (const run of document.querySelectorAll('details')) run.open = true;"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    from tests.collect.report.browser import open_browser

    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder)
    return folder


@pytest.fixture(scope="module")
def address(results: Path) -> str:
    path = results.parent / "report.html"
    path.write_text(render_page(page_of(results)), encoding="utf-8")
    return path.as_uri()


def show(driver: Chrome, address: str, width: int = 1280, scheme: str = "light") -> None:
    from tests.collect.report import browser

    browser.show(driver, address, width, scheme)


def shown(driver: Chrome, column: int, table: str = "runs") -> list[str]:
    texts: list[str] = driver.execute_script(COLUMN, table, column)
    return texts


def press(driver: Chrome, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


@contextlib.contextmanager
def forward(port: int) -> Iterator[int]:
    """Another port of this machine that leads to this one, as that of `ssh -L` does."""

    class Tunnel(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as there:
                there.sendall(self._request())
                while chunk := there.recv(65536):
                    self.wfile.write(chunk)

        def _request(self) -> bytes:
            lines = list(iter(self.rfile.readline, b"\r\n"))
            return b"".join([*lines, b"\r\n"])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as tunnel:
        thread = threading.Thread(target=tunnel.serve_forever, args=(0.05,))
        thread.start()
        yield tunnel.server_address[1]
        tunnel.shutdown()
        thread.join(30)


def focused_text(driver: Chrome) -> str:
    text: str = driver.execute_script("return document.activeElement.textContent")
    return text


def test_it_opens_without_a_word_and_asks_nobody(driver: Chrome, address: str) -> None:
    from tests.collect.report.browser import console, requested

    show(driver, address)
    driver.execute_script(OPEN_ALL)
    assert console(driver) == []
    assert [url for url in requested(driver) if not url.startswith("data:")] == [address]


def test_the_values_are_those_of_collect(driver: Chrome, address: str, results: Path) -> None:
    show(driver, address)
    found = [one for one in read_results(results) if not isinstance(one, Malformed)]
    rows = [msgspec.structs.asdict(row) for row in make_rows(map(make_run, found))]
    page: list[dict[str, str]] = driver.execute_script(SHOWN_TABLE)
    assert len(page) == len(rows) == 6
    for cells, row in zip(page, rows, strict=True):
        assert {"epoch_seconds", "images_per_second", "efficiency"} < cells.keys() < row.keys()
        for field, text in cells.items():
            value = row[field]
            is_number = isinstance(value, int | float)
            assert text == (json.dumps(value) if is_number else value or ""), field


def test_the_mouse_sorts_numbers_as_numbers(driver: Chrome, address: str) -> None:
    show(driver, address)
    heads = driver.find_elements("css selector", "#runs th[scope=col]")
    nodes = next(i for i, head in enumerate(heads) if head.text.startswith("nodes"))
    heads[nodes].find_element("tag name", "button").click()
    assert shown(driver, nodes) == ["1", "256", "256", "512", "768", "1024"]
    assert heads[nodes].get_attribute("aria-sort") == "ascending"
    heads[nodes].find_element("tag name", "button").click()
    assert shown(driver, nodes) == ["1024", "768", "512", "256", "256", "1"]
    assert heads[nodes].get_attribute("aria-sort") == "descending"
    assert driver.execute_script("return said.textContent") == "Sorted by nodes, descending"
    assert len(driver.find_elements("css selector", "#runs [aria-sort]")) == 1


def test_empty_cells_come_last_in_both_directions(driver: Chrome, address: str) -> None:
    show(driver, address)
    heads = driver.find_elements("css selector", "#runs th[scope=col]")
    speed = next(i for i, head in enumerate(heads) if head.text.startswith("speedup"))
    for _ in range(2):
        heads[speed].find_element("tag name", "button").click()
        assert shown(driver, speed)[-2:] == ["", ""]
        assert "" not in shown(driver, speed)[:-2]


def test_the_keyboard_reaches_a_heading_and_sorts(driver: Chrome, address: str) -> None:
    from selenium.webdriver import Keys

    show(driver, address)
    for _ in range(40):
        press(driver, Keys.TAB)
        if focused_text(driver) == "run":
            break
    assert focused_text(driver) == "run"
    ring = "return getComputedStyle(document.activeElement).outlineStyle"
    assert driver.execute_script(ring) == "solid"
    for key in (Keys.ENTER, Keys.SPACE):
        press(driver, key)
        assert shown(driver, 0) == (NAMES if key == Keys.ENTER else NAMES[::-1])


def test_a_table_of_the_paper_sorts_by_the_first_number_of_a_cell(
    driver: Chrome, address: str
) -> None:
    show(driver, address)
    heads = driver.find_elements("css selector", "#table-IX th")
    paper = next(i for i, head in enumerate(heads) if head.text.startswith("paper"))
    heads[paper].find_element("tag name", "button").click()
    numbers = [int(text.split()[0]) for text in shown(driver, paper, "table-IX")]
    assert numbers == [2100, 2600, 4000, 7200, 11400], "Source: Table IX"


def test_a_link_to_a_run_opens_it(driver: Chrome, address: str) -> None:
    show(driver, address)
    link = driver.find_element("link text", "knl-512")
    name = (link.get_attribute("href") or "").partition("#")[2]
    run = driver.find_element("id", name)
    assert run.get_attribute("open") is None
    link.click()
    assert run.get_attribute("open") is not None
    assert run.find_element("tag name", "h3").text == "knl-512"
    script = run.find_element("tag name", "pre").get_attribute("textContent")
    assert script == SCRIPT.expandtabs()


@pytest.mark.parametrize("width", [320, 360, 768])
def test_nothing_is_wider_than_the_screen(driver: Chrome, address: str, width: int) -> None:
    show(driver, address, width)
    driver.execute_script(OPEN_ALL)
    page = "const d = document.documentElement; return [innerWidth, d.scrollWidth - d.clientWidth]"
    assert driver.execute_script(page) == [width, 0]
    table = "const s = document.querySelector('.scroll'); return s.scrollWidth > s.clientWidth"
    assert driver.execute_script(table), "the table scrolls, not the page"


def luminance(colour: str) -> float:
    channels = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_themes(driver: Chrome, address: str, scheme: str) -> None:
    """4.5 to 1. Source: WCAG 2.2, criterion 1.4.3."""
    show(driver, address, scheme=scheme)
    driver.execute_script(OPEN_ALL)
    pairs = [json.loads(pair) for pair in driver.execute_script(COLOURS)]
    assert len(pairs) > 10
    grounds = {luminance(ground) > 0.5 for _, ground, tag in pairs if tag == "H1"}
    assert grounds == {scheme == "light"}
    for colour, ground, tag in pairs:
        dark, light = sorted((luminance(colour), luminance(ground)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (tag, colour, ground)


def test_every_picture_and_table_has_a_name(driver: Chrome, address: str) -> None:
    show(driver, address)
    driver.execute_script(OPEN_ALL)
    for kind in ("svg[role=img]", "table", "[role=region]", "nav", "main section"):
        elements = driver.find_elements("css selector", kind)
        assert elements, kind
        assert all(element.accessible_name for element in elements), kind


HOSTILE = "<script>hacked = 1</script><img src=x onerror='hacked = 2'><svg onload='hacked = 3'>"


def test_nothing_from_a_record_is_interpreted(driver: Chrome, tmp_path: Path) -> None:
    from tests.collect.report.browser import console, requested

    name = HOSTILE.replace("/", "")
    plan: Any = make_test_plan(system=f'"{HOSTILE}')
    recipe = msgspec.structs.replace(plan.recipe, title=HOSTILE)
    plan = msgspec.structs.replace(plan, recipe=recipe)
    record = make_record(
        name,
        plan=plan,
        status="failed",
        failure=f"</dd></dl></details></main>{HOSTILE}",
        git_commit=f"'>{HOSTILE}",
        hosts=(f"{{{{ 7 * 7 }}}}{HOSTILE}",),
    )
    folder = write_record(tmp_path / "results", record).parent
    (folder / "job.sh").write_text(f"</pre></style></script>{HOSTILE}\n")
    write_record(tmp_path / "results", make_record(f"bad{name}")).write_text(f'"{HOSTILE}"')
    path = tmp_path / "report.html"
    path.write_text(render_page(page_of(tmp_path / "results")), encoding="utf-8")
    show(driver, path.as_uri())
    driver.execute_script(OPEN_ALL)
    assert driver.execute_script("return typeof hacked") == "undefined"
    assert console(driver) == []
    assert [url for url in requested(driver) if not url.startswith("data:")] == [path.as_uri()]
    assert driver.find_elements("css selector", "img, script:not(body > script), svg[onload]") == []
    text = driver.find_element("tag name", "body").text
    for shown_text in (name, HOSTILE, "{{ 7 * 7 }}", "</dd></dl></details></main>", "</pre>"):
        assert shown_text in text


def test_a_live_page_is_shown_through_another_port(driver: Chrome, tmp_path: Path) -> None:
    from tests.collect.report.browser import console, wait_for

    write_results(tmp_path)

    def render(state: str) -> str:
        return render_page(page_of(tmp_path), Live(state=state, seconds=1))

    with ReportServer(tmp_path, 0, render) as server, forward(server.server_port) as port:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            show(driver, f"http://localhost:{port}{server.path}")
            assert sorted(shown(driver, 0)) == sorted(NAMES)
            write_record(tmp_path, make_record("a-new-one"))
            wait_for(lambda: "a-new-one" in shown(driver, 0), "new run")
            assert console(driver) == []
        finally:
            server.shutdown()
            thread.join(30)


def test_a_live_page_follows_its_runs_and_keeps_what_is_open(
    driver: Chrome, tmp_path: Path
) -> None:
    from tests.collect.report.browser import console, wait_for

    write_results(tmp_path)
    counter = itertools.count()

    def render(state: str) -> str:
        next(counter)
        return render_page(page_of(tmp_path), Live(state=state, seconds=1))

    with ReportServer(tmp_path, 0, render) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            show(driver, server.address)
            driver.find_element("link text", "knl-512").click()
            driver.find_element("css selector", "#runs th button").click()
            write_record(tmp_path, make_record("a-new-one"))
            wait_for(lambda: "a-new-one" in shown(driver, 0), "new run")
            assert shown(driver, 0) == ["a-new-one", *NAMES]
            assert focused_text(driver) == "run"
            opened = driver.find_elements("css selector", "details.run[open] h3")
            assert [run.text for run in opened] == ["knl-512"]
            assert console(driver) == []
            assert next(counter) == 2, "made anew once"
        finally:
            server.shutdown()
            thread.join(30)
