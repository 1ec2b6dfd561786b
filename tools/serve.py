"""Serve a gallery and a run as a web page with an HTTP API, on this machine alone unless it is told otherwise.

Examples:
    python tools/serve.py --gallery galleries/station
    python tools/serve.py --gallery galleries/station --run work_dirs/ise_r50_market --train --open
    python tools/serve.py --gallery galleries/station --host 0.0.0.0 --name search.example.org --token-file tokens.txt
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmreid_uda.cli import ToolParser, at_least, number, run_tool, writable_folder
from mmreid_uda.utils.packages import import_package
from mmreid_uda.utils.threads import settle_threads
from mmreid_uda.utils.values import NonNegative

if TYPE_CHECKING:
    from mmreid_uda.apis import ReIDInferencer
    from mmreid_uda.gallery import Gallery
    from mmreid_uda.review import Review
    from mmreid_uda.serve import ServerSettings


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Serve a gallery and a run as a web page with an HTTP API.")
    what = parser.add_argument_group("what is served")
    what.add_argument(
        "--gallery", metavar="URL", help="a folder, an .npz file or qdrant+http://..."
    )
    what.add_argument(
        "--run",
        metavar="WORK_DIR",
        help="a run, whose clusters are shown",
    )
    what.add_argument(
        "--clusters",
        action="store_true",
        help="show clusters of the gallery, which are made first: minutes for many items",
    )
    what.add_argument("--config", help="of the model (default: as the gallery says)")
    what.add_argument("--checkpoint", help="of the model, with --config")
    what.add_argument("--device", help="such as cuda:0 (default: a GPU if there is one)")
    what.add_argument(
        "--folder",
        type=writable_folder,
        help="where images that are added, thumbnails and the audit lie (default: that of the gallery, or of the run)",
    )
    what.add_argument("--train", action="store_true", help="let the page start a training")
    what.add_argument("--read-only", action="store_true", help="let nothing be changed")
    who = parser.add_argument_group("who may talk to it")
    who.add_argument("--host", default="127.0.0.1", help="address to listen at")
    who.add_argument("--port", type=at_least(0), default=8000, help="port; 0 takes a free one")
    who.add_argument(
        "--name", action="append", default=[], help="another name of this server, of a proxy, say"
    )
    who.add_argument(
        "--token-file", help="tokens of those who may talk to it, lines of a name and a token"
    )
    who.add_argument(
        "--behind-proxy",
        action="store_true",
        help="take the client's address from what a proxy on this machine says",
    )
    who.add_argument("--open", action="store_true", help="open the page in a browser")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--rate",
        type=number(NonNegative),
        default=20.0,
        help="requests a second and client; 0 = any",
    )
    limits.add_argument(
        "--max-image-mb", type=at_least(1), default=16, help="MiB of an image that is sent"
    )
    limits.add_argument(
        "--max-image-megapixels", type=at_least(1), default=25, help="and its million pixels"
    )
    args = parser.parse_args()
    if args.gallery is None and args.run is None:
        parser.error("found neither --gallery nor --run, expected at least one")
    if args.clusters and (args.gallery is None or args.run is not None):
        parser.error("found --clusters, expected it with --gallery and without --run")
    if args.checkpoint is not None and args.config is None:
        parser.error("found --checkpoint without --config, expected both, or neither")
    if args.port > 65535:
        parser.error(f"found --port {args.port}, expected at most 65535")
    return args


def settings_of(args: argparse.Namespace) -> ServerSettings:
    """Who may do what; a token that nobody has given is made, and printed this once."""
    from mmreid_uda.serve import Limits, ServerSettings
    from mmreid_uda.serve.settings import is_loopback, new_token, read_tokens

    tokens = read_tokens(args.token_file) if args.token_file else {}
    if not is_loopback(args.host):
        print(
            f"warning: other machines can reach {args.host}; the connection is not encrypted, put a proxy with TLS "
            "in front (docs/serve.md).",
            file=sys.stderr,
        )
        if not tokens:
            tokens = {"token": new_token()}
            print(f"token, shown this once: {tokens['token']}", file=sys.stderr, flush=True)
    limits = Limits(
        image_bytes=args.max_image_mb << 20,
        image_pixels=args.max_image_megapixels * 1_000_000,
        rate=args.rate,
        burst=max(1, round(3 * args.rate)),
    )
    return ServerSettings(args.host, tuple(args.name), tokens, args.train, args.read_only, limits)


def inferencer_of(args: argparse.Namespace, gallery: Gallery | None) -> ReIDInferencer | None:
    """The model of the gallery, or one of the command line; None where neither says which."""
    from mmreid_uda.apis import ReIDInferencer
    from mmreid_uda.gallery import require_same_model

    if gallery is None:
        return None
    if args.config is None and not gallery.settings.config:
        print(
            "no model is known: images cannot be searched for; give --config and --checkpoint",
            file=sys.stderr,
        )
        return None
    if args.config is None:
        return ReIDInferencer.of_gallery(gallery, args.device, show_progress=False)
    inferencer = ReIDInferencer(args.config, args.checkpoint, args.device, show_progress=False)
    require_same_model(inferencer.fingerprint, gallery.fingerprint, gallery.url)
    return inferencer


@contextlib.contextmanager
def gallery_of(args: argparse.Namespace) -> Iterator[Gallery | None]:
    """The gallery, closed at the end whatever happens."""
    if args.gallery is None:
        yield None
        return
    from mmreid_uda.gallery import open_gallery

    with open_gallery(args.gallery, read_only=args.read_only) as gallery:
        yield gallery


def review_of(args: argparse.Namespace, gallery: Gallery | None) -> Review | None:
    """The clusters of the run or of the gallery; None where none are asked for."""
    from mmreid_uda.review import Review

    if args.run is not None:
        tell(f"opening the images of {args.run}; the first time their features are extracted")
        return Review.of_run(args.run, device=args.device)
    if args.clusters and gallery is not None:
        tell(f"clustering {len(gallery)} images, minutes for many")
        return Review.of_gallery(gallery)
    return None


def tell(text: str) -> None:
    """A line about what takes a while."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Serve until a signal comes."""
    args = parse_args()
    settle_threads()
    for package in ("fastapi", "uvicorn", "python_multipart"):
        import_package(package, "mmreid serve", "mmreid_uda[serve]")
    from mmreid_uda.serve import create_app
    from mmreid_uda.serve.running import listen, run

    settings = settings_of(args)
    with contextlib.ExitStack() as stack:
        door = stack.enter_context(listen(args.host, args.port))
        gallery = stack.enter_context(gallery_of(args))
        app = create_app(
            gallery,
            review_of(args, gallery),
            inferencer_of(args, gallery),
            settings,
            Path(args.folder) if args.folder else None,
            Path(args.run) if args.run else None,
        )
        shown = f"[{args.host}]" if ":" in args.host else args.host
        address = f"http://{shown}:{door.getsockname()[1]}/"
        print(f"serving at {address}; stop with Ctrl+C", flush=True)
        if args.open:
            webbrowser.open(address)
        run(app, door, args.behind_proxy)


if __name__ == "__main__":
    run_tool(main)
