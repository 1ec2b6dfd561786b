"""A gallery of images that grows and shrinks: add, search, label, delete.

GALLERY is a folder, which is made; the name of an .npz file; or qdrant+http://HOST:PORT/COLLECTION. The model is said
once, when a gallery is made, and found again by it.

Examples:
    mmreid gallery add galleries/shop data/shop --config ise_r50_market --checkpoint work_dirs/ise_r50_market
    mmreid gallery add galleries/shop data/shop --folders camera --watch 10
    mmreid gallery search galleries/shop query.jpg --topk 5 --not-camera door --json
    mmreid gallery label galleries/shop --tracklet c1/c1-12 c2/c2-26 --as Ann
    mmreid gallery delete galleries/shop --older-than 30
"""

from __future__ import annotations

import argparse
import getpass
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from mmreid_uda.cli import (
    ToolParser,
    add_inferencer_arguments,
    add_time_prior,
    at_least,
    number,
    run_tool,
    time_prior_of_arguments,
    writable,
)
from mmreid_uda.utils import InputError, loading_processes
from mmreid_uda.utils.choices import SPLITS
from mmreid_uda.utils.threads import settle_threads
from mmreid_uda.utils.values import Fraction, OpenFraction, Positive

if TYPE_CHECKING:
    from mmreid_uda.apis import ReIDInferencer
    from mmreid_uda.apis.ingest import Report
    from mmreid_uda.gallery import Filter, Gallery, Match

CONDITIONS = {
    "ids": "these items",
    "camera": "seen by one of these cameras",
    "not_camera": "seen by none of these cameras",
    "identity": "of one of these identities",
    "tracklet": "of one of these tracklets",
}

NAMED: dict[str, Literal["camera", "identity", "tracklet"]] = {
    "camera": "camera",
    "not_camera": "camera",
    "identity": "identity",
    "tracklet": "tracklet",
}
"""Condition -> the field that it names values of."""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="A gallery of images that grows and shrinks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {
        name: commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        for name, (text, _) in COMMANDS.items()
    }
    for command in made.values():
        command.add_argument(
            "gallery", help="folder, .npz file, or qdrant+http://HOST:PORT/COLLECTION"
        )
    add = made["add"]
    add.add_argument(
        "images", nargs="+", help="folders, tables of crops (.csv), images, or datasets"
    )
    add.add_argument(
        "--folders",
        nargs="+",
        choices=("none", "camera", "tracklet", "identity"),
        help="what sub-folders are named after, one word for each level",
    )
    add.add_argument("--pattern", help="regular expression with groups camid, time, tracklet, pid")
    add.add_argument(
        "--frame-rate", type=number(Positive), help="where times are numbers of frames"
    )
    add.add_argument("--camera", help="name of the camera, where nothing else tells it")
    add.add_argument("--identity", help="name of the subject, likewise")
    add.add_argument("--split", choices=SPLITS, help="split of datasets (default: train)")
    add.add_argument(
        "--watch",
        type=number(Positive),
        nargs="?",
        const=5.0,
        metavar="SECONDS",
        help="look again and again for new images, until stopped",
    )
    add.add_argument(
        "--retention-days", type=number(Positive), help="from now on, items may stay this long"
    )
    search = made["search"]
    search.add_argument(
        "images", nargs="+", help="folders, tables of crops (.csv), images, or datasets"
    )
    search.add_argument("--topk", type=at_least(1), default=10, help="matches per query")
    search.add_argument("--together", action="store_true", help="all images show one subject")
    search.add_argument("--group-by", choices=("tracklet", "identity"), help="the best of each")
    search.add_argument("--threshold", type=number(Fraction), help="lowest cosine similarity")
    search.add_argument("--rerank", action="store_true", help="rank by k-reciprocal neighbors")
    search.add_argument(
        "--center", action="store_true", help="rank without what images of a camera have in common"
    )
    search.add_argument("--split", choices=SPLITS, help="split of datasets (default: query)")
    add_time_prior(search)
    search.add_argument("--json", action="store_true", help="print JSON in place of the table")
    made["label"].add_argument("--as", dest="name", required=True, help="identity that they get")
    made["export"].add_argument("out", type=writable(".npz"), help="file to write")
    made["import"].add_argument("file", help="file of export, or of extract_features.py")
    made["calibrate"].add_argument(
        "--far", type=number(OpenFraction), default=0.001, help="false accept rate that is allowed"
    )
    made["calibrate"].add_argument(
        "--across-cameras", action="store_true", help="leave out pairs of one subject in one camera"
    )
    for name in ("search", "label", "delete", "info", "calibrate"):
        add_conditions(made[name])
    made["delete"].add_argument(
        "--older-than",
        type=number(Positive),
        metavar="DAYS",
        help="added more than so many days ago",
    )
    made["delete"].add_argument("--everything", action="store_true", help="all items")
    for name in ("add", "search"):
        made[name].add_argument(
            "--run",
            help="of the model, for a new gallery: folder of a run, whose config and weights it is",
        )
        made[name].add_argument(
            "--config",
            help="of the model, for a new gallery: config, or rendered://mobilenet_v2, which is all",
        )
        made[name].add_argument("--checkpoint", help="and its checkpoint file, or folder of a run")
        add_inferencer_arguments(made[name])
    return parser.parse_args()


def add_conditions(parser: argparse.ArgumentParser) -> None:
    """Let a command be about some of the items."""
    for name, text in CONDITIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="+", metavar="NAME", help=text)
    parser.add_argument("--since", type=float, help="seen at this time, in seconds, or later")
    parser.add_argument("--until", type=float, help="seen before this time")


def filter_of(args: argparse.Namespace) -> Filter:
    """The items that the arguments of :func:`add_conditions` name."""
    from mmreid_uda.gallery import Filter, too_old

    days = getattr(args, "older_than", None)
    return Filter(
        ids=args.ids,
        cameras=args.camera,
        not_cameras=args.not_camera,
        identities=args.identity,
        tracklets=args.tracklet,
        since=args.since,
        until=args.until,
        added_before=None if days is None else too_old(days).added_before,
    )


def check_names(gallery: Gallery, args: argparse.Namespace) -> None:
    """Say which names of the conditions no item has: a condition that is misspelled finds nothing, or hides nothing."""
    for name, field in NAMED.items():
        given = set(getattr(args, name) or ()) - {""}
        held = {text: num for text, num in gallery.values(field).items() if text} if given else {}
        for one in sorted(given - set(held)):
            near = get_close_matches(one, held, 3, 0.4)
            hint = f"nearest: {', '.join(near)}" if near else f"known are {summary(held) or 'none'}"
            complain(f"no item has the {field} {one!r}; {hint}")


def conditions(args: argparse.Namespace) -> dict[str, Any]:
    """The same for the audit, as far as it is given."""
    names = (*CONDITIONS, "since", "until", "older_than")
    return {name: one for name in names if (one := getattr(args, name, None)) is not None}


def opened(args: argparse.Namespace, read_only: bool = False) -> Gallery:
    """The gallery that a command is about."""
    from mmreid_uda.gallery import open_gallery

    return open_gallery(args.gallery, read_only=read_only)


def opened_with_model(args: argparse.Namespace, read_only: bool) -> tuple[Gallery, ReIDInferencer]:
    """A gallery with the model that has made it, or a new one with the model that ``--config`` names."""
    from mmreid_uda.apis import ReIDInferencer
    from mmreid_uda.checkpoint import run_config

    options: dict[str, Any] = dict(
        options=args.cfg_options,
        batch_size=args.batch_size,
        num_workers=loading_processes(args.num_workers),
        show_progress=False,
    )
    config, checkpoint = args.config, args.checkpoint
    if args.run is not None:
        config, checkpoint = config or run_config(args.run), checkpoint or args.run
    if config is None:
        gallery = opened(args, read_only)
        return gallery, ReIDInferencer.of_gallery(gallery, args.device, **options)
    inferencer = ReIDInferencer(config, checkpoint, args.device, **options)
    opening = inferencer.load_gallery if read_only else inferencer.open_gallery
    return opening(args.gallery), inferencer


def audit(gallery: Gallery, what: str, **details: Any) -> None:
    """Write down who did what, where the gallery has a folder."""
    from mmreid_uda.gallery.audit import AuditLog

    if gallery.folder is not None:
        AuditLog(gallery.folder / "audit.jsonl").write(getpass.getuser(), what, **details)


def add(args: argparse.Namespace) -> None:
    """Add images, once or again and again."""
    from mmreid_uda.apis.ingest import Found, Ingest, find_images, watch
    from mmreid_uda.gallery import expire
    from mmreid_uda.utils.progress import show_progress

    gallery, inferencer = opened_with_model(args, read_only=False)
    names = ("folders", "pattern", "frame_rate")
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}

    def look() -> Found:
        found = find_images(args.images, inferencer.cfg, args.split, **options)
        return found.told(args.camera, args.identity)

    def tell(report: Report) -> None:
        for path in report.skipped:
            print(f"skipped, cannot be read: {path}", file=sys.stderr)
        if expired := expire(gallery):
            audit(gallery, "delete", why="retention", deleted=expired)
        if report or expired or args.watch is None:
            gallery.flush()
            gone = f", {expired} deleted by age" if expired else ""
            print(f"{gallery.url}: {report}{gone}; {len(gallery)} items", flush=True)
            audit(gallery, "add", added=report.added, changed=report.changed)

    with gallery:
        if args.retention_days is not None:
            gallery.change_settings(retention_days=args.retention_days)
        ingest = Ingest(gallery, inferencer.extract)
        if args.watch is not None:
            complain(f"looking for new images every {args.watch:g} s; stop with Ctrl+C")
            for report in watch(look, ingest, args.watch, say=complain):
                tell(report)
        found = look()
        tell(ingest(found, lambda done: show_progress("adding", done, len(found), "images")))


def complain(text: str) -> None:
    """A sentence about what can be mended while the tool goes on."""
    print(text, file=sys.stderr, flush=True)


def search(args: argparse.Namespace) -> None:
    """Find who is on images."""
    from mmreid_uda.apis.ingest import find_images
    from mmreid_uda.datasets.files import read_file
    from mmreid_uda.evaluation import TimePrior
    from mmreid_uda.gallery import content_id

    options = time_prior_of_arguments(args)
    prior = None if options is None else TimePrior.of_run(**options)
    gallery, inferencer = opened_with_model(args, read_only=True)
    with gallery:
        check_names(gallery, args)
        found = find_images(args.images, inferencer.cfg, args.split or "query")
        wanted: dict[str, Any] = dict(
            topk=args.topk,
            where=filter_of(args),
            group_by=args.group_by,
            threshold=args.threshold,
            rerank=args.rerank,
            center=args.center,
            prior=prior,
            sightings=found.sightings,
        )
        features, queries = inferencer.extract(found.paths), found.paths
        if args.together:
            queries, results = [" + ".join(queries)], [gallery.search_together(features, **wanted)]
        else:
            results = gallery.search(features, **wanted)
        audit(
            gallery,
            "search",
            query=[content_id(read_file(path)) for path in found.paths],
            where=conditions(args),
            matches=sum(map(len, results)),
        )
        measured = gallery.settings.threshold if args.threshold is None else None
        line = None if measured is None else measured.similarity
    if prior is not None:
        ways = f"{prior.num_journeys} ways between cameras in {args.time_prior}"
        complain(f"ranked by looks and by {ways}")
    if any(match.score is not None for matches in results for match in matches):
        complain("of each image: rank, score that it is ranked by, cosine similarity")
    if args.json:
        print(as_json(queries, results))
    else:
        print(as_table(queries, results, line))


def as_table(
    queries: list[str], results: Sequence[Sequence[Match]], threshold: float | None = None
) -> str:
    """One block per query: rank, score where it is not the similarity, similarity, what is known, path.

    A line parts what is less similar than the threshold, where similarities are what is ranked by.
    """
    lines = []
    for query, matches in zip(queries, results):
        lines += [query] if matches else [query, "        nothing found"]
        likely = threshold is not None
        for rank, match in enumerate(matches, 1):
            if likely and match.score is None and match.similarity < (threshold or 0.0):
                likely = False
                lines.append(f"        ---- below the threshold, {threshold:.4f}: likely others")
            score = "" if match.score is None else f"{match.score:.4f}  "
            known = [match.camera, match.identity, match.tracklet]
            known += [f"{match.time:g} s"] if math.isfinite(match.time) else []
            known += [f"the best of {match.group_size}"] if (match.group_size or 0) > 1 else []
            text = "  ".join([f"{match.similarity:7.4f}", match.path, *filter(None, known)])
            lines.append(f"{rank:6}  {score}{text}")
    return "\n".join(lines)


def as_json(queries: list[str], results: Sequence[Sequence[Match]]) -> str:
    """A list with ``query`` and ``matches`` of each query; what is unknown is left out."""
    answers = [
        dict(query=query, matches=[known(match._asdict()) for match in matches])
        for query, matches in zip(queries, results)
    ]
    return json.dumps(answers, indent=2)


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Named values without those that are unknown."""
    return {name: one for name, one in values.items() if one not in (None, "") and one == one}


def label(args: argparse.Namespace) -> None:
    """Say who some items are."""
    with opened(args) as gallery:
        where = filter_of(args)
        if not where:
            raise InputError(
                "found no condition, expected which items are meant: give --ids, --identity, --camera or others."
            )
        check_names(gallery, args)
        ids = [one for items in gallery.scan(where, features=False) for one in items.ids]
        gallery.update(ids, identity=args.name)
        gallery.flush()
        audit(gallery, "label", where=conditions(args), identity=args.name, labeled=len(ids))
        print(f"{gallery.url}: {len(ids)} items are {args.name!r} now")


def delete(args: argparse.Namespace) -> None:
    """Take items out."""
    from mmreid_uda.gallery import forget

    where = filter_of(args)
    if not (where or args.everything):
        raise InputError(
            "found no condition, expected which items are meant: give --ids, --camera, --older-than or others, or "
            "--everything."
        )
    with opened(args) as gallery:
        check_names(gallery, args)
        deleted = forget(gallery, where)
        audit(gallery, "delete", where=conditions(args), deleted=deleted)
        print(f"{gallery.url}: {deleted} deleted; {len(gallery)} items")


def info(args: argparse.Namespace) -> None:
    """Tell what a gallery holds."""
    with opened(args, read_only=True) as gallery:
        where, settings = filter_of(args), gallery.settings
        check_names(gallery, args)
        print(
            f"{gallery.count(where)} of {len(gallery)} items, {gallery.dim} dimensions: {gallery.url}"
        )
        for field in ("camera", "identity", "tracklet"):
            print(f"{field:10}{summary(gallery.values(field, where))}")
        print(f"{'model':10}{settings.config or 'unknown'} {settings.checkpoint}".rstrip())
        print(f"{'':10}fingerprint {settings.fingerprint[:12] or 'unknown'}")
        if (found := settings.threshold) is not None:
            print(
                f"{'threshold':10}{found.similarity:.4f}: {found.tpr:.1%} of the pairs of one subject, "
                f"{found.far:.3%} of the others"
            )
        if settings.retention_days is not None:
            print(f"{'retention':10}{settings.retention_days:g} days")


def summary(values: Mapping[str, int]) -> str:
    """How many names there are, the most frequent ones, and of how many items nothing is known."""
    names = sorted((one for one in values if one), key=lambda one: (-values[one], one))
    shown = ", ".join(f"{one} ({values[one]})" for one in names[:8])
    more = f", and {len(names) - 8} others" if names[8:] else ""
    unknown = f"unknown of {values['']}" if values.get("") else ""
    return "; ".join(filter(None, [f"{len(names)}: {shown}{more}" if names else "", unknown]))


def export(args: argparse.Namespace) -> None:
    """Write a gallery to a file."""
    from mmreid_uda.gallery import export_items

    with opened(args, read_only=True) as gallery:
        num = export_items(gallery, args.out)
        audit(gallery, "export", items=num)
    print(f"{num} items: {args.out}")


def import_file(args: argparse.Namespace) -> None:
    """Add the items of a file."""
    from mmreid_uda.gallery import FileGallery, import_items, open_gallery

    with FileGallery.load(args.file, read_only=True) as source:
        settings = source.settings
    with open_gallery(args.gallery, create=settings) as gallery:
        num = import_items(gallery, args.file)
        gallery.flush()
        audit(gallery, "import", items=num)
        print(f"{gallery.url}: {num} imported; {len(gallery)} items")


def calibrate(args: argparse.Namespace) -> None:
    """Find the similarity from which on two images show one subject."""
    from mmreid_uda.gallery import calibrate as calibrated

    with opened(args) as gallery:
        check_names(gallery, args)
        found = calibrated(gallery, args.far, filter_of(args), across_cameras=args.across_cameras)
        gallery.flush()
    print(
        f"threshold {found.similarity:.4f}: accepts {found.tpr:.1%} of {found.positives} pairs of one subject, "
        f"{found.far:.3%} of {found.negatives} pairs of two; searches and the page draw a line there"
    )


def optimize(args: argparse.Namespace) -> None:
    """Build what an approximate search needs, and take from the disk what was deleted."""
    with opened(args) as gallery:
        gallery.compact()
        gallery.optimize()
        print(f"{gallery.url}: {len(gallery)} items")


COMMANDS: dict[str, tuple[str, Callable[[argparse.Namespace], None]]] = {
    "add": ("add images, each once", add),
    "search": ("find who is on images", search),
    "label": ("say who some items are", label),
    "delete": ("take items out", delete),
    "info": ("tell what is there", info),
    "calibrate": ("find the similarity from which on two images show one subject", calibrate),
    "optimize": ("make searches fast, and take from the disk what was deleted", optimize),
    "export": ("write all items to a file", export),
    "import": ("add the items of a file", import_file),
}
"""Command -> what it does, and its function."""


def main() -> None:
    """Do what the command says."""
    args = parse_args()
    settle_threads()
    COMMANDS[args.command][1](args)


if __name__ == "__main__":
    run_tool(main)
