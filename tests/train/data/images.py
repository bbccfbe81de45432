"""Images and image folders to test with."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def draw(height: int, width: int, seed: int = 0) -> Pixels:
    """Smooth colour patches, which survive JPEG nearly unchanged: uint8 [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def encode(image: Image.Image | Pixels, form: str = "JPEG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if form == "JPEG":
        options = {"quality": 95, **options}
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def decode_with_pillow(encoded: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def write_folders(
    root: Path, train: int = 8, validation: int = 5, classes: int = 2, size: int = 32
) -> Path:
    """Image folders with this many images per class; every image is a different one."""
    for number, (split, images) in enumerate((("train", train), ("val", validation))):
        for label in range(classes):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(images):
                pixels = draw(size, size, seed=number * 10_000 + label * 1000 + i)
                (folder / f"{i:03d}.jpg").write_bytes(encode(pixels))
    return root


def cut_off(path: Path) -> None:
    """Leave only the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
