"""Take pictures of all views of a running `mmreid serve`, as they are shown in docs/page.md.

Example:
    mmreid serve --gallery gallery --run work_dirs/my_run --port 8000
    python tools/visualization/page_screenshots.py http://127.0.0.1:8000 --out docs/images
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmreid_uda.cli import ToolParser, at_least, run_tool

_TILE = ".tile[data-full] img"


def search(page: Any) -> None:
    """Look for somebody in the other cameras."""
    page.locator(_TILE).first.wait_for()
    page.locator(".wall").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Save CSV").wait_for()
    others = page.get_by_text("Only other cameras")
    if others.count():
        others.click()
        page.get_by_text("all but those ticked").wait_for(state="attached")
        page.get_by_text("Save CSV").wait_for()
    threshold = page.get_by_label("Same subject from")
    if not threshold.input_value():  # the gallery has not been calibrated: as somebody may write it
        threshold.fill("0.95")
        threshold.press("Enter")
        page.locator(".wall").focus()


def cluster(page: Any) -> None:
    """Open the worst cluster and choose the two images farthest from its center."""
    page.locator(_TILE).first.wait_for()
    page.locator(".wall").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Sorted from typical").wait_for()
    page.locator(_TILE).first.wait_for()
    page.locator(".wall").focus()
    for key in ("End", "Space", "Shift+ArrowLeft"):
        page.keyboard.press(key)


def lasso(page: Any) -> None:
    """Draw around what lies in the middle of the map."""
    page.locator("canvas.map").wait_for()
    page.wait_for_timeout(300)
    page.keyboard.press("l")
    box = page.locator("canvas.map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 70, y - 50)
    page.mouse.down()
    for dx, dy in ((0, -90), (80, -60), (90, 50), (10, 90), (-80, 60)):
        page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up()


VIEWS = {
    "search": ("#/search", search),
    "clusters": ("#/clusters", lambda page: page.locator(_TILE).first.wait_for()),
    "cluster": ("#/clusters", cluster),
    "map": ("#/map", lasso),
    "questions": ("#/questions", lambda page: page.locator(".pair img").first.wait_for()),
    "history": ("#/history", lambda page: page.get_by_text("Before and after").wait_for()),
}
"""Name -> its address, and what is done there first."""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("url", help="where the server answers")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of page_VIEW.jpg")
    parser.add_argument("--width", type=at_least(800), default=1280, help="of the window, pixels")
    parser.add_argument("--height", type=at_least(500), default=800, help="of the window, pixels")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS), help="which ones")
    parser.add_argument("--dark", action="store_true", help="as at night")
    return parser.parse_args()


def main() -> None:
    """Open each view, prepare it, and take its picture."""
    args = parse_args()
    from mmreid_uda.utils.browser import open_browser

    args.out.mkdir(parents=True, exist_ok=True)
    with open_browser("this tool") as browser:
        for name in args.views:
            address, prepare = VIEWS[name]
            page = browser.new_page(
                viewport=dict(width=args.width, height=args.height),
                color_scheme="dark" if args.dark else "light",
            )
            page.goto(f"{args.url.rstrip('/')}/{address}")
            prepare(page)
            page.wait_for_timeout(900)  # thumbnails come when the wall rests
            path = args.out / f"page_{name}.jpg"
            page.screenshot(path=path, type="jpeg", quality=74)
            page.close()
            print(f"wrote {path}")


if __name__ == "__main__":
    run_tool(main)
