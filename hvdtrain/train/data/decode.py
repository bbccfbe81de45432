"""From the bytes of an image file to pixels.

TensorFlow's decoder handles what ImageNet holds: grayscale, progressive, CMYK and YCCK JPEGs
(also inverted, as Adobe writes them), and a PNG under the name of a JPEG. Transparency is dropped,
16 bits per channel become 8, and the orientation tag of a camera is ignored.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# TensorFlow's own default is less exact by up to seven levels of 255, and no faster.
_DCT = "INTEGER_ACCURATE"

_END_OF_JPEG = b"\xff\xd9"


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a whole image.

    Args:
        encoded: Bytes of a JPEG or PNG file.

    Returns:
        uint8 [height, width, 3].

    Raises:
        tf.errors.InvalidArgumentError: When it runs: no such image, damaged, or cut off.
    """
    # In spite of its name this decodes a PNG too, and tells by the content which it is.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method=_DCT)


def decode_window(encoded: tf.Tensor, choose_window: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Decode one window of an image. Of a JPEG, only the blocks that the window touches.

    The decoder would not see that a file was cut off below the window. So a JPEG that does not end
    as a JPEG must is decoded as a whole: that fails if it was cut off, and not if bytes follow its
    end.

    Args:
        encoded: Scalar string: the bytes of a JPEG or PNG file.
        choose_window: From the shape, int32 [3] (height, width, channels), to the window, int32
            [4] (top, left, height, width), inside the image.

    Returns:
        uint8 [window height, window width, 3].

    Raises:
        tf.errors.InvalidArgumentError: As in decode_image.
    """

    def decode_blocks() -> tf.Tensor:
        window = choose_window(tf.image.extract_jpeg_shape(encoded))
        return tf.io.decode_and_crop_jpeg(encoded, window, channels=3, dct_method=_DCT)

    def decode_whole() -> tf.Tensor:
        image = decode_image(encoded)
        return cut_window(image, choose_window(tf.shape(image)))

    return tf.cond(_is_whole_jpeg(encoded), decode_blocks, decode_whole)


def cut_window(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """The part of an image [height, width, 3] inside a window (top, left, height, width)."""
    top, left, height, width = tf.unstack(window)
    return image[top : top + height, left : left + width]


def _is_whole_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    # A negative position counts from the end; of a string of fewer than two bytes it is an error.
    long_enough = tf.strings.length(encoded) >= 2
    ending = tf.strings.substr(encoded, tf.where(long_enough, -2, 0), 2)
    return tf.io.is_jpeg(encoded) & (ending == _END_OF_JPEG)
