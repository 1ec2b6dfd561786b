"""Measure how smoothly the page of `mmreid serve` scrolls and moves a map: times between frames, elements.

A real server serves a gallery and a run of synthetic features with small pictures to a real browser; the wheel is
turned slowly (300 pixels) and fast (6000 pixels) every 16 ms, and the map is dragged. A display of 60 Hz shows a frame
every 16.7 ms.

Examples:
    python tools/benchmarks/benchmark_page.py --json page.json
    python tools/benchmarks/benchmark_page.py --images 10000
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from synthetic_features import IMAGES_PER_ID, NUM_CAMERAS, make_features

from mmreid_uda.cli import ToolParser, at_least, run_tool, writable
from mmreid_uda.utils import make_rng
from mmreid_uda.utils.files import write_json

_PICTURES = 500
_FIGURES = """() => {
  const sorted = [...frameTimes].sort((one, other) => one - other);
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
  return {frames: sorted.length, median_ms: at(0.5), p95_ms: at(0.95), worst_ms: at(1),
    elements: document.getElementsByTagName('*').length};
}"""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=at_least(100), default=100_000, help="images")
    parser.add_argument("--dim", type=at_least(2), default=64, help="dimensions of a feature")
    parser.add_argument("--turns", type=at_least(1), default=60, help="of the wheel, in each view")
    parser.add_argument("--seed", type=int, default=0, help="seed of features and pictures")
    parser.add_argument("--json", type=writable(), help="write the figures to this file")
    return parser.parse_args()


def make_pictures(folder: Path, seed: int) -> list[str]:
    """Small pictures, each of two colors with noise.

    Returns:
        Their paths.
    """
    import cv2

    rng = make_rng(seed, "pictures")
    paths = []
    for number in range(_PICTURES):
        pixels = np.repeat(rng.integers(40, 215, (2, 1, 3)), 64, 0).astype(np.float64)
        noisy = np.tile(pixels, (1, 64, 1)) + rng.normal(0, 20, (128, 64, 3))
        paths.append(str(folder / f"{number:03}.jpg"))
        cv2.imwrite(paths[-1], noisy.clip(0, 255).astype(np.uint8))
    return paths


def make_app(folder: Path, args: argparse.Namespace) -> Any:
    """The server's application, with a gallery and a review of the same images."""
    from mmreid_uda.gallery import GallerySettings, Items, name_ids, open_gallery
    from mmreid_uda.review import Review
    from mmreid_uda.serve import Limits, ServerSettings, create_app
    from mmreid_uda.structures import Evidence

    num = args.images
    features, labels, cameras = make_features(
        num, num // IMAGES_PER_ID, NUM_CAMERAS, args.dim, args.seed
    )
    pictures = make_pictures(folder, args.seed)
    paths = [pictures[number % _PICTURES] for number in range(num)]
    times = np.arange(num, dtype=np.float64)
    gallery = open_gallery(
        folder / "gallery.npz", create=GallerySettings("benchmark"), dim=args.dim
    )
    ids = name_ids([str(number) for number in range(num)])
    named = [f"c{camera}" for camera in cameras]
    gallery.add(Items.of(features, paths, ids=ids, cameras=named, times=times))
    review = Review(
        features,
        paths,
        labels,
        Evidence(cameras, times),
        folder / "links.csv",
        folder,
        name="benchmark",
    )
    return create_app(gallery, review, None, ServerSettings(limits=Limits(rate=0)))


def turn_wheel(page: Any, pixels: int, _: int) -> None:
    """Scroll."""
    page.mouse.wheel(0, pixels)


def drag(page: Any, turn: int) -> None:
    """Move the pointer a little farther."""
    page.mouse.move(300 + 3 * turn, 300 + turn)


def measure(page: Any, move: Any, turns: int) -> dict[str, float]:
    """Frames while something moves, from the top of a wall on.

    Args:
        page: Of the browser.
        move: Moves it a little, given how often it has done so.
        turns: How often.

    Returns:
        ``frames``, ``median_ms``, ``p95_ms``, ``worst_ms``, ``elements``.
    """
    page.evaluate("document.querySelector('.wall')?.scrollTo(0, 0)")
    page.wait_for_timeout(500)
    page.evaluate("frameTimes.length = 0")
    for turn in range(turns):
        move(turn)
        page.wait_for_timeout(16)
    page.wait_for_timeout(500)
    return page.evaluate(_FIGURES)


def measure_views(browser: Any, address: str, turns: int) -> dict[str, dict[str, float]]:
    """Scroll the gallery and the clusters, drag the map.

    Returns:
        Figures by view and speed.
    """
    found = {}
    for view in ("search", "clusters"):
        page = browser.new_page(viewport=dict(width=1280, height=800))
        page.goto(f"{address}/#/{view}")
        page.locator(".tile[data-full] img").first.wait_for(timeout=120_000)
        page.mouse.move(600, 500)
        for speed, pixels in (("slow", 300), ("fast", 6000)):
            found[f"{view}, {speed}"] = measure(page, partial(turn_wheel, page, pixels), turns)
        page.close()
    page = browser.new_page(viewport=dict(width=1280, height=800))
    page.goto(f"{address}/#/map")
    page.locator("canvas.map").wait_for(timeout=600_000)
    page.wait_for_timeout(1000)
    page.mouse.move(300, 300)
    page.mouse.down()
    found["map, dragged"] = measure(page, partial(drag, page), turns)
    page.close()
    return found


def main() -> None:
    """Serve, look, print."""
    args = parse_args()
    from mmreid_uda.utils.browser import open_browser, serving

    with (
        tempfile.TemporaryDirectory() as folder,
        open_browser("this tool") as browser,
        serving(make_app(Path(folder), args)) as address,
    ):
        found = measure_views(browser, address, args.turns)
    print(f"{'':18} {'frames':>7} {'median ms':>10} {'95 % ms':>8} {'worst ms':>9} {'elements':>9}")
    for name, one in found.items():
        print(
            f"{name:18} {one['frames']:7} {one['median_ms']:10.1f} {one['p95_ms']:8.1f} {one['worst_ms']:9.1f} "
            f"{one['elements']:9}"
        )
    if args.json:
        write_json(args.json, dict(images=args.images, views=found))
        print(f"wrote {args.json}")


if __name__ == "__main__":
    run_tool(main)
