"""Some digits with their predictions, as a PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE, CAPTION, COLUMNS, ROWS = 96, 28, 8, 3


def draw(path: Path, images: np.ndarray, words: np.ndarray, probabilities: np.ndarray) -> None:
    """Writes the first images with the predicted word and its probability below each.

    Args:
      path: Of the PNG to write.
      images: PNG bytes, [n].
      words: Predictions as bytes, [n].
      probabilities: float32 [n], 0 to 1.
    """
    sheet = Image.new("L", (COLUMNS * (SIDE + 8) + 8, ROWS * (SIDE + CAPTION + 8) + 8), 255)
    pen = ImageDraw.Draw(sheet)
    for i in range(min(len(images), COLUMNS * ROWS)):
        left = 8 + (i % COLUMNS) * (SIDE + 8)
        top = 8 + (i // COLUMNS) * (SIDE + CAPTION + 8)
        with Image.open(io.BytesIO(images[i])) as digit:
            sheet.paste(digit.resize((SIDE, SIDE), Image.Resampling.NEAREST), (left, top))
        caption = f"{words[i].decode()} {probabilities[i]:.0%}"
        pen.text((left, top + SIDE + 4), caption, fill=0, font_size=14)
    sheet.save(path)
