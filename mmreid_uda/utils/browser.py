"""A browser without a window: for tests, pictures and measurements of the page of ``mmreid serve``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import InputError
from .packages import import_package

__all__ = ["find_chromium", "open_browser"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The Chromium of this system.

    Returns:
        Its path; None where there is none.
    """
    return next((path for path in map(shutil.which, _NAMES) if path), None)


@contextmanager
def open_browser(needed_by: str) -> Iterator[Any]:
    """Start Chromium through Playwright, and end it.

    Args:
        needed_by: What needs it, for messages.

    Yields:
        Playwright's ``Browser``.

    Raises:
        InputError: Playwright or Chromium is not installed.
    """
    playwright = import_package("playwright.sync_api", needed_by, "playwright")
    path = find_chromium()
    if path is None:
        raise InputError(
            f"found none of {', '.join(_NAMES)}, expected a browser for {needed_by}: install Chromium, such as with "
            "`apt-get install chromium`."
        )
    with playwright.sync_playwright() as driver:
        # Its sandbox needs rights that containers do not give; it opens nothing but our own server.
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
