"""The report as HTML: one page that needs no other file and runs nothing but its own script."""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from hvdtrain.collect.report.page import Page
from hvdtrain.files.fields import printable

_TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Live:
    """What a page that follows its runs has to know.

    Attributes:
        state: What the page shows; another one means that there is something new.
        seconds: Seconds between two requests for a newer page.
    """

    state: str
    seconds: int


def render_page(page: Page, live: Live | None = None) -> str:
    """The page as HTML.

    Every text is escaped, and what a browser would not show as itself is written as `\\xNN`. The
    policy in its head lets the browser use this style sheet and this script and load nothing.
    """
    style, script = (_inline(name) for name in ("report.css", "report.js"))
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            live=live,
            style=style,
            script=script,
            policy=content_policy(live is not None),
        )
    )


def content_policy(live: bool) -> str:
    """The Content-Security-Policy of the page; one that is served may ask its own server."""
    rules = [
        "default-src 'none'",
        f"style-src '{_hash(_inline('report.css'))}'",
        "img-src data:",  # the empty icon in the head, without which a browser asks for one
        f"script-src '{_hash(_inline('report.js'))}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join([*rules, "connect-src 'self'"] if live else rules)


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: object) -> object:
    """Every text that is put into a template, before it is escaped."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@functools.cache
def _inline(name: str) -> Markup:
    """A file of this package that goes into the page as it is."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
