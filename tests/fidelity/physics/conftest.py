"""Real frames of single months, as display counts of three channels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

SIZE, RADIUS = 128, 56.0
_ARCSEC_PER_PIXEL = 4.8
_FRAMES_PER_MONTH = 48


@pytest.fixture(scope="session")
def real_months(real_data: Path) -> Callable[[int], NDArray[np.float32]]:
    """`real_months(8)`: 48 frames of August 2012, 128 pixels, row 0 south, counts; channels 171, 131 and 94 Å."""
    listed = real_data / "sdo2012" / "index.csv"
    if not listed.is_file():
        pytest.skip(f"no list of images at {listed}")
    index = pd.read_csv(listed, parse_dates=["time"])
    index = index[(index["dark"] == 0) & (index["time"].dt.hour % 2 == 0)]

    def month(number: int) -> NDArray[np.float32]:
        rows = index[index["time"].dt.month == number]
        rows = rows.iloc[np.linspace(0, len(rows) - 1, _FRAMES_PER_MONTH).astype(int)]
        return np.stack([_frame(listed.parent / one.file, one.time.dayofyear) for one in rows.itertuples()])

    return month


def _frame(path: Path, day: int) -> NDArray[np.float32]:
    """The image averaged to a disk of 56 pixels; the Sun's radius follows from the Earth's distance on that day."""
    radius = 959.63 / (1 - 0.0167 * np.cos(2 * np.pi * (day - 3) / 365.25)) / _ARCSEC_PER_PIXEL
    half = radius * SIZE / RADIUS / 2
    image = Image.open(path).convert("RGB")
    middle = image.width / 2
    box = (middle - half, middle - half, middle + half, middle + half)
    # In floating point: rounding to counts would be the finest structure in the frame.
    bands = [band.convert("F").resize((SIZE, SIZE), Image.Resampling.BOX, box) for band in image.split()]
    return np.stack([np.asarray(band)[::-1] for band in bands])
