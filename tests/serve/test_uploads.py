"""Images that clients send: formats, sizes, bombs, orientation."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from serving import picture_bytes

from mmreid_uda.serve import Limits
from mmreid_uda.serve.uploads import FORMATS, read_upload
from mmreid_uda.utils import InputError

LIMITS = Limits(image_bytes=200_000, image_pixels=100_000)


def read(content):
    return read_upload(content, LIMITS, "cv2", "image 1")


@pytest.mark.parametrize("form", FORMATS)
def test_every_allowed_format_is_decoded(form):
    options = {"lossless": True} if form == "WEBP" else {}
    upload = read(picture_bytes(1, 2, form, **options))
    expected = np.asarray(Image.open(io.BytesIO(picture_bytes(1, 2, "BMP"))))[:, :, ::-1]
    assert upload.pixels.shape == (64, 32, 3) and upload.pixels.dtype == np.uint8
    difference = np.abs(upload.pixels.astype(int) - expected).mean()
    assert difference < (12 if form == "JPEG" else 1e-9)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PPM", "TGA", "ICO"])
def test_other_formats_are_not_decoded(form):
    with pytest.raises(InputError, match="expected JPEG, PNG, WEBP, BMP; convert it"):
        read(picture_bytes(1, 2, form))


def png_of(width, height):
    """A PNG file of many pixels in few bytes."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min(width, 20_000) * 64), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [400, 20_000, 2**31 - 1])
def test_a_bomb_is_refused_by_its_header(side, monkeypatch):
    def decode(*_):
        raise AssertionError("it was decoded")

    monkeypatch.setattr("mmreid_uda.serve.uploads.decode_image", decode)
    with pytest.raises(
        InputError, match=r"pixels in image 1, expected at most 100000|broken header"
    ):
        read(png_of(side, side))


def test_bytes_are_limited():
    with pytest.raises(InputError, match="found more than 200000 bytes in image 1"):
        read(picture_bytes(1, 2) + bytes(200_000))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"BM" + bytes(60),
        b"RIFF0000WEBPVP8 ",
        b"<svg/>",
    ],
)
def test_what_is_no_image_is_a_sentence(content):
    with pytest.raises(InputError, match="found image 1"):
        read(content)


def test_half_a_file_is_a_sentence_or_what_the_decoder_of_the_tree_makes_of_it():
    png = picture_bytes(1, 2, "PNG")
    with pytest.raises(InputError, match="cannot be decoded"):
        read(png[:60])


def test_an_image_is_turned_upright():
    image = Image.open(io.BytesIO(picture_bytes(1, 2)))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    assert read(file.getvalue()).pixels.shape == (32, 64, 3)


def test_the_number_of_images_is_limited(serve):
    client = serve(limits=Limits(rate=0, images=2))
    files = [("image", ("a.jpg", picture_bytes(one), "image/jpeg")) for one in range(3)]
    assert "1 to 2" in client.post("/v1/search", files=files).json()["error"]
    assert client.post("/v1/search", files=files[:2]).status_code == 200
