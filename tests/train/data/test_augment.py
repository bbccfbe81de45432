"""What the network sees: exactly the paper's evaluation, and random crops that can be repeated."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.train.data.images import draw, encode

tf = pytest.importorskip("tensorflow")
from hvdtrain.train.data.augment import (  # noqa: E402
    frame_size,
    make_evaluation_image,
    make_training_image,
    random_window,
)

pytestmark = pytest.mark.tf

MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])

Image = npt.NDArray[np.float32]


@functools.cache
def compiled(size: int) -> Callable[..., Any]:
    def make(encoded: object, example: object, keys: object, augment: object) -> object:
        return make_training_image(encoded, example, keys, augment, size)

    signature = [
        tf.TensorSpec([], tf.string),
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([2], tf.int64),
        tf.TensorSpec([], tf.bool),
    ]
    function: Callable[..., Any] = tf.function(make, signature, autograph=False)
    return function


@pytest.fixture(scope="module", autouse=True)
def _free_functions() -> Iterator[None]:
    """A compiled function that lives until the interpreter ends complains then."""
    yield
    compiled.cache_clear()


def ramp(height: int, width: int) -> bytes:
    """Red tells the row and green the column, from 0 to 255; without loss."""
    rows = np.linspace(0, 255, height)[:, np.newaxis, np.newaxis] * [1, 0, 0]
    columns = np.linspace(0, 255, width)[np.newaxis, :, np.newaxis] * [0, 1, 0]
    return encode(np.round(rows + columns).astype(np.uint8), "PNG")


def pixels(image: Image) -> npt.NDArray[np.float64]:
    """Undo the normalisation: 0 to 255."""
    return np.asarray((image * DEVIATION + MEAN) * 255)


def training(
    encoded: bytes, example: int = 0, key: int = 1, augment: bool = True, size: int = 224
) -> Image:
    image = compiled(size)(encoded, example, [key, key + 1], augment)
    result: Image = image.numpy()
    return result


def many(encoded: bytes, augment: bool, size: int) -> Iterator[npt.NDArray[np.float64]]:
    for example in range(60):
        yield pixels(training(encoded, example, augment=augment, size=size))


def span(image: npt.NDArray[np.float64], channel: int, axis: int) -> float:
    """How far a ramp rises from one side to the other, as a part of the whole; a flip falls."""
    line = image[..., channel].mean(axis=1 - axis)
    return float(line[-1] - line[0]) / 255


def test_frame_sizes() -> None:
    assert {size: frame_size(size) for size in (224, 160, 32, 64)} == {
        224: 256,
        160: 183,
        32: 40,
        64: 80,
    }


def test_evaluation_is_the_centre_of_the_image_resized_to_256() -> None:
    source = draw(300, 420)
    image = make_evaluation_image(tf.constant(encode(source, "PNG")), 224).numpy()
    resized = tf.image.resize(source, [256, 256]).numpy()[16:240, 16:240]
    assert image.shape == (224, 224, 3) and image.dtype == np.float32
    expected = (resized / 255 - MEAN) / DEVIATION
    assert np.allclose(image, expected, atol=1e-4)


def test_evaluation_of_a_photograph_smaller_than_the_input_is_no_exception() -> None:
    image = make_evaluation_image(tf.constant(ramp(75, 56)), 224).numpy()
    assert span(pixels(image), 0, axis=0) == pytest.approx(224 / 256, abs=0.02)
    assert span(pixels(image), 1, axis=1) == pytest.approx(224 / 256, abs=0.02)


def test_evaluation_of_a_small_image_is_the_whole_image() -> None:
    source = draw(32, 32)
    image = make_evaluation_image(tf.constant(encode(source, "PNG")), 32).numpy()
    assert np.allclose(pixels(image), source, atol=1e-3)


@pytest.mark.parametrize(("size", "smallest"), [(224, 0.08), (32, 0.25)])
def test_scale_and_aspect_stay_in_their_ranges_and_fill_them(size: int, smallest: float) -> None:
    height, width = 240, 320
    areas, ratios, flips = [], [], []
    for image in many(ramp(height, width), augment=True, size=size):
        down, across = span(image, 0, axis=0), span(image, 1, axis=1)
        flips.append(across < 0)
        areas.append(down * abs(across))
        ratios.append(abs(across) * width / (down * height))
    # The sides are measured between pixel centres, and the window is in whole pixels.
    assert smallest * 0.9 <= min(areas) and max(areas) <= 1.001
    assert min(ratios) >= 0.70 and max(ratios) <= 1.40
    assert min(areas) < smallest + 0.15 and max(areas) > 0.75
    assert min(ratios) < 0.85 and max(ratios) > 1.2
    assert 15 <= sum(flips) <= 45


def windows(height: int, width: int, size: int = 224, images: int = 60_000) -> Image:
    """Windows of many examples: int32 [images, 4]."""

    def draw_window(example: object) -> object:
        return random_window(tf.constant([height, width, 3]), tf.stack([7, example]), size)

    dataset = tf.data.Dataset.range(images).map(draw_window, num_parallel_calls=2).batch(images)
    found: Image = next(iter(dataset)).numpy()
    return found


def mean_area(height: int, width: int, smallest: float) -> float:
    """Mean share of the image, by integration over all areas and ratios of a draw that fits."""
    share = np.linspace(smallest, 1, 2001)[:, np.newaxis]
    ratio = np.linspace(3 / 4, 4 / 3, 2001)
    wide = width / height
    total, fitting = 0.0, 0.0
    for turned in (ratio, 1 / ratio):
        fits = share <= np.minimum(wide / turned, turned / wide)
        total += float((share * fits).sum())
        fitting += float(fits.sum())
    return total / fitting


@pytest.mark.parametrize(
    ("height", "width", "size", "mean"),
    [
        (375, 500, 224, 0.432),
        (500, 375, 224, 0.432),
        (256, 256, 224, 0.477),
        (256, 256, 64, 0.563),
    ],
)
def test_the_area_of_windows_is_uniform(height: int, width: int, size: int, mean: float) -> None:
    expected = mean_area(height, width, 0.25 if size <= 64 else 0.08)
    assert expected == pytest.approx(mean, abs=0.001)
    top, left, rows, columns = windows(height, width, size).T
    assert (rows * columns).mean() / (height * width) == pytest.approx(expected, rel=0.01)
    # Tall and wide windows are equally frequent where the image is square.
    if height == width:
        assert np.log(columns / rows).mean() == pytest.approx(0, abs=0.005)
    # Any place in the image is as good as another.
    for start, length, side in ((top, rows, height), (left, columns, width)):
        room = side - length
        assert start.min() == 0 and (start <= room).all() and (start == room).any()
        assert (start[room > 0] / room[room > 0]).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("height", "width"), [(100, 1000), (1000, 100)])
def test_a_window_that_never_fits_is_the_square_in_the_middle(height: int, width: int) -> None:
    found = windows(height, width, images=2000)
    # A draw fits with a probability of 2.3 %, so ten of them fail with one of 79 %.
    middle = (found[:, 2:] == 100).all(axis=1) & (found[:, :2].sum(axis=1) == 450)
    assert middle.mean() == pytest.approx(0.79, abs=0.03)


@pytest.mark.parametrize(("size", "frame"), [(224, 256), (32, None)])
def test_without_augmentation_scale_and_aspect_are_fixed(size: int, frame: int | None) -> None:
    tops, flips = set(), []
    for image in many(ramp(240, 320) if frame else ramp(32, 32), augment=False, size=size):
        across = span(image, 1, axis=1)
        flips.append(across < 0)
        tops.add(round(float(image[0, :, 0].mean())))
        if frame:
            assert span(image, 0, axis=0) == pytest.approx(size / frame, abs=0.02)
            assert abs(across) == pytest.approx(size / frame, abs=0.02)
    # Mirrored at the border, a small image has five different top rows.
    assert len(tops) >= 5
    assert 15 <= sum(flips) <= 45


def test_a_small_image_is_moved_by_up_to_an_eighth_and_mirrored_at_the_border() -> None:
    source = draw(32, 32)
    frame = np.pad(source, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    crops = [frame[y : y + 32, x : x + 32] for y in range(9) for x in range(9)]
    possible = np.array([crop for whole in crops for crop in (whole, whole[:, ::-1])], float)
    found = set()
    for image in many(encode(source, "PNG"), augment=False, size=32):
        distances = np.abs(possible - image).max(axis=(1, 2, 3))
        assert distances.min() < 0.01
        found.add(int(distances.argmin()))
    assert len(found) > 20


@pytest.mark.parametrize("augment", [True, False])
def test_randomness_is_a_function_of_key_and_example(augment: bool) -> None:
    source = encode(draw(240, 320))
    first = training(source, example=5, key=9, augment=augment)
    assert np.array_equal(first, training(source, example=5, key=9, augment=augment))
    assert not np.array_equal(first, training(source, example=6, key=9, augment=augment))
    assert not np.array_equal(first, training(source, example=5, key=7, augment=augment))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (2, 3)])
@pytest.mark.parametrize("augment", [True, False])
def test_degenerate_shapes_still_give_an_image(height: int, width: int, augment: bool) -> None:
    source = encode(draw(height, width))
    for size in (32, 224):
        image = training(source, augment=augment, size=size)
        assert image.shape == (size, size, 3) and np.isfinite(image).all()
        assert make_evaluation_image(tf.constant(source), size).shape == (size, size, 3)
