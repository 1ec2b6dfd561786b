"""Features from an exported model with onnxruntime, NumPy, OpenCV and Pillow alone: copy this file into your service.

``tools/deploy/export.py`` writes ``model.onnx`` and, beside it, ``model.json``, which says how images are resized.
The features equal those of ``ReIDInferencer``; a file that is written here is a gallery for it.

Examples:
    python tools/deploy/run_onnx.py model.onnx crops/ --out features.npz

    >>> extractor = OnnxExtractor("model.onnx")
    >>> features = extractor([cv2.imread("a.jpg"), cv2.imread("b.jpg")])
    >>> similarity = features[0] @ features[1]
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import onnxruntime
import PIL.Image

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
INTERPOLATIONS: dict[str, dict[str, Any]] = {
    "cv2": {
        "nearest": cv2.INTER_NEAREST,
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
        "area": cv2.INTER_AREA,
        "lanczos": cv2.INTER_LANCZOS4,
    },
    # Pillow's kernels are other ones, and widen when an image shrinks.
    "pillow": {
        "nearest": PIL.Image.Resampling.NEAREST,
        "bilinear": PIL.Image.Resampling.BILINEAR,
        "bicubic": PIL.Image.Resampling.BICUBIC,
        "box": PIL.Image.Resampling.BOX,
        "lanczos": PIL.Image.Resampling.LANCZOS,
        "hamming": PIL.Image.Resampling.HAMMING,
    },
}
DESCRIBED = ("onnx_sha256", "fingerprint", "input")
DESCRIBED_INPUT = ("name", "width", "height", "interpolation", "colour")
# What the file system says where there is no room left.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
# A file system that is full still has room for an empty file.
SAMPLE = bytes(4096)


class DeploymentError(ValueError):
    """Something that the user can mend, in one sentence."""


Image = str | Path | np.ndarray
"""A file, or pixels: uint8 (H, W, 3) in BGR order."""


class OnnxExtractor:
    """An exported model.

    Attributes:
        description: The content of the JSON file.
        fingerprint: Of weights and preprocessing; features of two fingerprints must not be compared.

    Args:
        path: The ``.onnx`` file; the JSON file lies beside it.
        threads: Threads of a forward pass; 0 leaves it to onnxruntime.

    Raises:
        DeploymentError: A file is missing or is none of ``export.py``, or the two do not belong together.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        path = Path(path)
        for file in (path, path.with_suffix(".json")):
            if not file.is_file():
                raise DeploymentError(
                    f"the file '{file}' does not exist, expected the two files that export.py wrote, model.onnx "
                    "and model.json, in one folder."
                )
        content = path.read_bytes()
        self.description = read_description(path.with_suffix(".json"))
        if hashlib.sha256(content).hexdigest() != self.description["onnx_sha256"]:
            raise DeploymentError(
                f"'{path}' is not the graph that '{path.with_suffix('.json')}' describes; copy both files of one "
                "export."
            )
        self.fingerprint: str = self.description["fingerprint"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            content, options, providers=onnxruntime.get_available_providers()
        )

    def __call__(
        self,
        images: Image | Sequence[Image],
        batch_size: int = 64,
        skipped: list[str] | None = None,
    ) -> np.ndarray:
        """Compute features.

        Args:
            images: One image or several: files, or arrays, uint8 (H, W, 3) in BGR order as ``cv2.imread`` gives them,
                of any size.
            batch_size: Images per forward pass.
            skipped: Takes the names of files that cannot be read, which are then left out; None refuses the first.

        Returns:
            float32 (N, D), rows of unit norm, of the N images that were not skipped, in their order.

        Raises:
            DeploymentError: There is no image, one is not as expected, or a feature is not finite.
        """
        name = self.description["input"]["name"]
        images = [images] if isinstance(images, (str, Path, np.ndarray)) else list(images)
        parts = []
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            pixels = [
                one for one in (self._prepared(one, skipped) for one in part) if one is not None
            ]
            if pixels:
                parts.append(self.session.run(None, {name: np.stack(pixels)})[0])
        if not parts:
            raise DeploymentError(
                f"found 0 images that can be read among {len(images)}, expected at least one; restore the files."
            )
        features = np.concatenate(parts)
        broken = int((~np.isfinite(features).all(1)).sum())
        if broken:
            raise DeploymentError(
                f"the features of {broken} of {len(features)} images are not finite, expected numbers; export without "
                "--fp16, or another checkpoint."
            )
        return features

    def _prepared(self, image: Image, skipped: list[str] | None) -> np.ndarray | None:
        """What :meth:`prepare` gives, or None for a file that cannot be read, which ``skipped`` takes."""
        try:
            return self.prepare(image)
        except DeploymentError:
            if skipped is None or isinstance(image, np.ndarray):
                raise
            skipped.append(str(image))
            return None

    def prepare(self, image: Image) -> np.ndarray:
        """Read an image if it is a file, and resize it: uint8 (height, width, 3)."""
        pixels = read_image(str(image)) if isinstance(image, (str, Path)) else checked(image)
        wanted = self.description["input"]
        backend = wanted.get("backend", "cv2")  # descriptions of earlier exports name none
        how = INTERPOLATIONS[backend][wanted["interpolation"]]
        size = wanted["width"], wanted["height"]
        if backend == "pillow":
            resized = np.array(PIL.Image.fromarray(pixels).resize(size, how))
        else:
            resized = cv2.resize(pixels, size, interpolation=how)
        return resized if wanted["colour"] == "BGR" else np.ascontiguousarray(resized[..., ::-1])


def read_description(path: Path) -> dict[str, Any]:
    """Read the JSON file of a model, and check that it says all that is needed."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        found = f"is no JSON ({error})"
    else:
        content = content if isinstance(content, dict) else {}
        missing = [key for key in DESCRIBED if key not in content]
        images = content.get("input")
        images = images if isinstance(images, dict) else {}
        missing = missing or [key for key in DESCRIBED_INPUT if key not in images]
        wrong = [key for key in ("width", "height") if not isinstance(images.get(key), int)]
        known = INTERPOLATIONS.get(str(images.get("backend", "cv2")), {})
        if not missing and not wrong and str(images["interpolation"]) in known:
            return content
        found = f"lacks {', '.join(missing)}" if missing else f"describes images as {images}"
    raise DeploymentError(
        f"'{path}' {found}, expected the description that export.py wrote; copy both files of one export."
    )


def checked(image: Any) -> np.ndarray:
    """Pixels, if they are such: uint8 (H, W, 3)."""
    if not isinstance(image, np.ndarray):
        raise DeploymentError(
            f"found a {type(image).__name__} as an image, expected the name of a file or an array."
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DeploymentError(
            f"found an array of {image.dtype} and shape {image.shape}, expected an image as cv2.imread gives it: uint8 "
            "(H, W, 3) in BGR order."
        )
    return image


def read_image(path: str) -> np.ndarray:
    """Decode a file to uint8 (H, W, 3) in BGR order, turned upright by its EXIF orientation."""
    content = np.fromfile(path, np.uint8) if os.path.isfile(path) else np.empty(0, np.uint8)
    try:
        image = decode(content)
    except cv2.error:
        image = None
    if image is None:
        raise DeploymentError(
            f"the image '{path}' ({len(content)} bytes) cannot be decoded; restore the file, or leave it out."
        )
    return image


def decode(content: np.ndarray) -> np.ndarray | None:
    """Decode bytes as training does: of 16 bits a channel the highest 8 that the brightest pixel uses are taken."""
    if not len(content):
        return None
    image = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is None or image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        return cv2.imdecode(content, cv2.IMREAD_COLOR)
    used = max(8, int(image.max()).bit_length())
    return np.right_shift(image, used - 8).astype(np.uint8)


def find_images(inputs: Sequence[str]) -> list[str]:
    """Files as they are, and the images of folders and their sub-folders in the order of their names."""
    found = []
    for one in inputs:
        path = Path(one)
        if not path.exists():
            raise DeploymentError(f"the image '{one}' does not exist; correct the path.")
        files = sorted(path.rglob("*"), key=Path.as_posix) if path.is_dir() else [path]
        images = [
            str(file)
            for file in files
            if file == path or (file.suffix.lower() in EXTENSIONS and not file.name.startswith("."))
            if not file.is_dir()
        ]
        if not images:
            raise DeploymentError(f"found 0 images in the folder '{one}', expected at least one.")
        found += images
    return found


@contextlib.contextmanager
def open_to_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path``, which takes its name when the block has succeeded."""
    if path.suffix != ".npz":
        raise DeploymentError(f"found '{path}' as the file to write, expected a name in .npz.")
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    started = False
    try:
        if path.exists() and not path.is_file():
            raise DeploymentError(f"'{path}' is no file; name another place with --out.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(SAMPLE)
        with temporary.open("wb") as file:
            started = True
            yield file
        started = False
        os.replace(temporary, path)
    except OSError as error:
        if started and error.errno not in NO_ROOM:
            raise
        raise DeploymentError(
            f"'{path}' cannot be written ({error.strerror}); name another place with --out."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Extract re-ID features with onnxruntime.")
    parser.add_argument("model", help="the .onnx file")
    parser.add_argument("images", nargs="+", help="folders and images")
    parser.add_argument("--out", required=True, help="the .npz file to write")
    parser.add_argument(
        "--corrupt",
        choices=("raise", "skip"),
        default="raise",
        help="stop at an image that cannot be read, or leave it out and name it (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=64, help="images a forward pass (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="0: onnxruntime's choice (default: %(default)s)"
    )
    return parser.parse_args()


def main() -> None:
    """Write the features of images to an .npz file."""
    args = parse_args()
    for name, value, least in (("batch-size", args.batch_size, 1), ("threads", args.threads, 0)):
        if value < least:
            raise DeploymentError(f"found --{name} {value}, expected at least {least}.")
    extractor = OnnxExtractor(args.model, args.threads)
    paths = find_images(args.images)
    skipped: list[str] = []
    with open_to_write(Path(args.out)) as file:
        features = extractor(paths, args.batch_size, skipped if args.corrupt == "skip" else None)
        np.savez(
            file,
            features=features,
            paths=np.array([path for path in paths if path not in skipped]),
            fingerprint=np.array(extractor.fingerprint),
        )
    for path in skipped:
        print(f"skipped, cannot be read: {path}", file=sys.stderr)
    print(f"{len(features)} features of {features.shape[1]} dimensions: {args.out}")


if __name__ == "__main__":
    try:
        main()
    except DeploymentError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
