"""What the tests of the server share: pictures in colors, and a model that looks at colors."""

import io
from types import SimpleNamespace

import numpy as np
from PIL import Image

DIM = 48


class ColorModel:
    """Features are the mean colors of a grid of 4 x 4 fields, centered."""

    fingerprint = "c" * 64
    cfg = SimpleNamespace(test_pipeline=[{"type": "LoadReIDImage", "imdecode_backend": "cv2"}])

    def __init__(self):
        self.batches = []

    def extract(self, images):
        self.batches.append(len(images))
        rows = []
        for image in images:
            grid = np.asarray(
                Image.fromarray(image).resize((4, 4), Image.Resampling.BOX), np.float32
            )
            row = grid.ravel() - 127.5
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, np.float32)


def picture_bytes(seed, subject=0, form="JPEG", size=(32, 64), **options):
    """A picture of a subject: its color in the upper half, noise of the seed everywhere."""
    rng = np.random.default_rng([7, subject])
    pixels = np.zeros((size[1], size[0], 3))
    half = size[1] // 2
    pixels[:half], pixels[half:] = rng.integers(0, 255, 3), rng.integers(0, 255, 3)
    pixels += np.random.default_rng(seed).normal(0, 12, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, form, **options)
    return file.getvalue()
