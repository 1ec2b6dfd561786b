"""A browser without a window, and a server for it: to test, show and measure the page of ``mmreid serve``."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import InputError
from .packages import import_package

__all__ = ["find_chromium", "open_browser", "serving"]

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


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application to this machine alone, in a thread of its own.

    Args:
        app: What ``mmreid_uda.serve.create_app`` returns.

    Yields:
        Its address, with a free port.

    Raises:
        InputError: uvicorn is not installed, or the application does not start.
    """
    uvicorn = import_package("uvicorn", "a server", "'mmreid_uda[serve]'")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise InputError("found a server that ended at once, expected one: its log tells why.")
        time.sleep(0.02)
    [socket] = server.servers[0].sockets
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
