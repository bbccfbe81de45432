"""A headless Chromium that asks nobody for anything."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

# Without these it looks for updates, synchronises and asks for lists of its maker's.
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)
_WAIT_SECONDS = 30.0


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own that notes what it says and asks for."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        driver.set_page_load_timeout(_WAIT_SECONDS)
        yield driver
    finally:
        driver.quit()


def show(driver: webdriver.Chrome, address: str, width: int = 1280, scheme: str = "light") -> None:
    """Open a page on a screen of this width and theme; what was noted before is forgotten."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    theme = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})
    driver.get("about:blank")
    console(driver)
    requested(driver)
    driver.get(address)


def console(driver: webdriver.Chrome) -> list[dict[str, Any]]:
    """What the browser said since it was last asked: errors, warnings, refusals."""
    entries: list[dict[str, Any]] = driver.get_log("browser")  # type: ignore[no-untyped-call]
    return entries


def requested(driver: webdriver.Chrome) -> list[str]:
    """Every address that was asked for since this was last asked."""
    entries: list[Any] = driver.get_log("performance")  # type: ignore[no-untyped-call]
    notes = [json.loads(entry["message"])["message"] for entry in entries]
    return [
        note["params"]["request"]["url"]
        for note in notes
        if note["method"] == "Network.requestWillBeSent"
    ]


def wait_for(is_there: Callable[[], Any], what: str) -> Any:
    """What the function gives, once it gives something."""
    end = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < end:
        if found := is_there():
            return found
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {_WAIT_SECONDS} s")
