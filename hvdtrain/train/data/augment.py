"""From the bytes of an image to what the network sees, for training and for evaluation.

Two frames, by the size of the network's input:

- Photographs (image_size above 64). The image is resized to 256 x 256 for an input of 224 (in
  proportion for others), whatever its shape. Evaluation takes the centre. Source: the paper's
  evaluation, a single 224 x 224 centre crop of the image resized to 256 x 256.
- Small images (image_size up to 64), which have no border to give away. The image is resized to
  image_size, if it is not that already, and mirrored outwards by an eighth on each side (4 pixels
  for 32). Evaluation takes the centre, which is the whole image.

Training with scale and aspect augmentation takes a random window of 8 to 100 % of the original
image (25 to 100 % for small images: 8 % of 32 x 32 would be 9 x 9 pixels) with a ratio of sides of
3/4 to 4/3, resized to the input: see `random_window`. Without it, training takes a random crop of
the frame. Both flip left and right at random. What is random is a pure function of the keys of the
epoch and of the example, so a resumed run sees the same crops.
"""

from __future__ import annotations

import tensorflow as tf

from hvdtrain.train.data.decode import cut_window, decode_image, decode_window

SMALL_IMAGE_SIZE = 64

_FRAME_PER_INPUT = 256 / 224
_ASPECT_RATIOS = (3 / 4, 4 / 3)
_ATTEMPTS = 10

# Of the training images of ImageNet, red, green, blue, on the scale 0 to 255.
_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_DEVIATION = (0.229 * 255, 0.224 * 255, 0.225 * 255)


def make_training_image(
    encoded: tf.Tensor,
    example: tf.Tensor,
    keys: tf.Tensor,
    augment: tf.Tensor,
    image_size: int,
) -> tf.Tensor:
    """One training image.

    Args:
        encoded: Scalar string: the bytes of a JPEG or PNG file.
        example: Index of the example, int64.
        keys: int64 [2], of the epoch: `order.augmentation_keys`.
        augment: Bool: scale and aspect augmentation, or a plain random crop.
        image_size: Height and width of the result, pixels.

    Returns:
        float32 [image_size, image_size, 3], normalised.

    Raises:
        tf.errors.InvalidArgumentError: When it runs: the image cannot be decoded.
    """
    place, flip = tf.stack([keys[0], example]), tf.stack([keys[1], example])

    def scale_and_aspect() -> tf.Tensor:
        window = decode_window(encoded, lambda shape: random_window(shape, place, image_size))
        return _resize(window, image_size)

    def plain_crop() -> tf.Tensor:
        frame = _make_frame(decode_image(encoded), image_size)
        room = tf.shape(frame)[0] - image_size + 1
        corner = tf.random.stateless_uniform([2], place, 0, room, tf.int32)
        return cut_window(frame, tf.concat([corner, [image_size, image_size]], 0))

    image = tf.cond(augment, scale_and_aspect, plain_crop)
    flipped = tf.random.stateless_uniform([], flip) < 0.5
    image = tf.cond(flipped, lambda: tf.reverse(image, [1]), lambda: image)
    return _normalise(image, image_size)


def make_evaluation_image(encoded: tf.Tensor, image_size: int) -> tf.Tensor:
    """The centre of the frame: float32 [image_size, image_size, 3], normalised.

    Args:
        encoded: Scalar string: the bytes of a JPEG or PNG file.
        image_size: Height and width of the result, pixels.

    Raises:
        tf.errors.InvalidArgumentError: When it runs: the image cannot be decoded.
    """
    image = decode_image(encoded)
    if image_size <= SMALL_IMAGE_SIZE:
        return _normalise(_resize(image, image_size), image_size)
    frame = _make_frame(image, image_size)
    border = (frame_size(image_size) - image_size) // 2
    inside = slice(border, border + image_size)
    return _normalise(frame[inside, inside], image_size)


def frame_size(image_size: int) -> int:
    """Height and width of the frame that crops are taken from: 256 for 224, 40 for 32."""
    if image_size <= SMALL_IMAGE_SIZE:
        return image_size + 2 * (image_size // 8)
    return round(image_size * _FRAME_PER_INPUT)


def _make_frame(image: tf.Tensor, image_size: int) -> tf.Tensor:
    if image_size > SMALL_IMAGE_SIZE:
        return _resize(image, frame_size(image_size))
    border = image_size // 8
    padding = [[border, border], [border, border], [0, 0]]
    return tf.pad(_resize(image, image_size), padding, "REFLECT")


def random_window(shape: tf.Tensor, seed: tf.Tensor, image_size: int) -> tf.Tensor:
    """A window of random area and ratio of sides, at a random place.

    Each of ten draws has an area uniform in 8 to 100 % of the image's, and a ratio of sides that is
    uniform in 3/4 to 4/3 and turned upside down in half of the cases: tall and wide windows are
    equally frequent. The first that fits into the image is taken. Where none does (3 in a million
    at 500 x 375), it is the largest square in the middle.

    Source: Goyal et al., section 5.1, train with fb.resnet.torch, whose RandomSizedCrop draws like
    this. The mean area is 43.2 % of an image of 500 x 375 and 47.7 % of a square one.

    Args:
        shape: int32 [3]: height, width, channels.
        seed: int64 [2].
        image_size: Height and width of the input, pixels. Up to 64 the smallest area is 25 %.

    Returns:
        int32 [4]: top, left, height, width.
    """
    smallest = 0.25 if image_size <= SMALL_IMAGE_SIZE else 0.08
    draws = tf.random.stateless_uniform([_ATTEMPTS, 5], seed)
    height, width = tf.unstack(tf.cast(shape[:2], tf.float32))
    area = (smallest + (1 - smallest) * draws[:, 0]) * height * width
    narrowest, widest = _ASPECT_RATIOS
    ratio = narrowest + (widest - narrowest) * draws[:, 1]
    ratio = tf.where(draws[:, 2] < 0.5, ratio, 1 / ratio)
    sides = tf.round(tf.sqrt(tf.stack([area / ratio, area * ratio], 1)))
    fits = tf.reduce_all(sides <= [height, width], 1)
    # The last row is what is left when no draw fits; argmax gives the first that does.
    sides = tf.concat([sides, tf.fill([1, 2], tf.minimum(height, width))], 0)
    places = tf.concat([draws[:, 3:], [[0.5, 0.5]]], 0)
    taken = tf.argmax(tf.cast(tf.concat([fits, [True]], 0), tf.int32))
    size = tf.maximum(tf.cast(sides[taken], tf.int32), 1)
    room = tf.cast(shape[:2] - size + 1, tf.float32)
    return tf.concat([tf.cast(places[taken] * room, tf.int32), size], 0)


def _resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Bilinear, to float32 [size, size, 3]."""
    return tf.ensure_shape(tf.image.resize(image, [size, size]), [size, size, 3])


def _normalise(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Subtract the mean and divide by the deviation of each channel.

    Pixels are taken a row at a time: broadcasting over rows of three numbers takes four times as
    long, which would show in the time of the whole image.
    """
    offset = tf.constant([mean / dev for mean, dev in zip(_MEAN, _DEVIATION, strict=True)])
    scale = tf.constant([1 / dev for dev in _DEVIATION])
    rows = tf.reshape(image, [image_size, image_size * 3])
    rows = rows * tf.tile(scale, [image_size]) - tf.tile(offset, [image_size])
    return tf.reshape(rows, [image_size, image_size, 3])
