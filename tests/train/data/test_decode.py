"""Odd and damaged images, each against Pillow or against the pixels it was made from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.train.data.images import decode_with_pillow, draw, encode

tf = pytest.importorskip("tensorflow")
from hvdtrain.train.data.decode import decode_image, decode_window  # noqa: E402

pytestmark = pytest.mark.tf

PIXELS = draw(48, 64)
PICTURE = Image.fromarray(PIXELS)


def as_ycck(cmyk: bytes) -> bytes:
    """Declare the components of an Adobe CMYK JPEG to be YCCK."""
    place = cmyk.index(b"Adobe")
    # "Adobe", version (2 bytes), flags (2 and 2), transform (1): 0 is CMYK and 2 is YCCK.
    assert cmyk[place + 11] == 0
    return cmyk[: place + 11] + b"\x02" + cmyk[place + 12 :]


def without_adobe(cmyk: bytes) -> bytes:
    """Take the marker out that says that Adobe's inverted CMYK follows."""
    start = cmyk.index(b"\xff\xee")
    length = int.from_bytes(cmyk[start + 2 : start + 4], "big")
    return cmyk[:start] + cmyk[start + 2 + length :]


CMYK = encode(PICTURE.convert("CMYK"))

JPEGS = {
    "rgb": encode(PICTURE),
    "progressive": encode(PICTURE, progressive=True),
    "no subsampling": encode(PICTURE, subsampling=0),
    "grayscale": encode(PICTURE.convert("L")),
    "cmyk": CMYK,
    "ycck": as_ycck(CMYK),
    "bytes after the end": encode(PICTURE) + b"trailing",
}


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_has_the_pixels_that_pillow_sees(name: str) -> None:
    decoded = decode_image(tf.constant(JPEGS[name])).numpy()
    assert decoded.shape == (48, 64, 3) and decoded.dtype == np.uint8
    reference = decode_with_pillow(JPEGS[name]).astype(int)
    # Another version of the JPEG library may round differently.
    assert np.abs(decoded - reference).max() <= 1


def test_cmyk_that_is_not_inverted_is_the_negative_of_each_ink() -> None:
    inverted = decode_image(tf.constant(CMYK)).numpy().astype(int)
    assert np.abs(inverted - PIXELS).mean() < 4
    plain = decode_image(tf.constant(without_adobe(CMYK))).numpy().astype(int)
    assert np.abs(plain - PIXELS).mean() > 40


def test_a_png_under_any_name_is_exact() -> None:
    assert np.array_equal(decode_image(tf.constant(encode(PICTURE, "PNG"))), PIXELS)


def test_transparency_is_dropped() -> None:
    alpha = np.zeros((48, 64, 1), np.uint8)
    rgba = encode(np.concatenate([PIXELS, alpha], axis=2), "PNG")
    assert np.array_equal(decode_image(tf.constant(rgba)), PIXELS)


def test_sixteen_bits_keep_the_upper_eight() -> None:
    gray = np.linspace(0, 65535, 48 * 64).astype(np.uint16).reshape(48, 64)
    encoded = encode(Image.fromarray(gray), "PNG")
    decoded = decode_image(tf.constant(encoded)).numpy().astype(int)
    assert np.abs(decoded - (gray // 256)[..., np.newaxis]).max() <= 1


@pytest.mark.parametrize("name", [*JPEGS, "png"])
def test_a_window_is_that_part_of_the_image(name: str) -> None:
    encoded = tf.constant(JPEGS.get(name) or encode(PICTURE, "PNG"))
    shapes: list[Any] = []

    def choose(shape: Any) -> Any:
        shapes.append(shape)
        return tf.constant([7, 9, 30, 40])

    window = decode_window(encoded, choose).numpy()
    assert np.array_equal(window, decode_image(encoded)[7:37, 9:49])
    assert shapes[0].numpy()[:2].tolist() == [48, 64]


DAMAGED = {
    "cut off": encode(PICTURE)[:-40],
    "empty": b"",
    "one byte": b"\xff",
    "text": b"<html>not found</html>",
    "header only": encode(PICTURE)[:2] + b"\xff\xd9",
    "zeros inside the header": encode(PICTURE)[:160] + bytes(200) + encode(PICTURE)[360:],
    "png cut off": encode(PICTURE, "PNG")[:200],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_images_are_errors(name: str) -> None:
    encoded = tf.constant(DAMAGED[name])
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(encoded)
    with pytest.raises(tf.errors.InvalidArgumentError):
        # The damage of some lies below this window.
        decode_window(encoded, lambda _: tf.constant([0, 0, 8, 8]))
