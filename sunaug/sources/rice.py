"""Rice-compressed FITS images decoded by imagecodecs, twice as fast as astropy goes about them.

JSOC's files hold a tile a row, 4,096 of them, and of the time that astropy takes for one of these files half goes into
its loop over tiles. The decoder is the same in both, that of CFITSIO. Only the layout that JSOC writes is read here
(FITS standard 4.0, section 10.1); whatever else there is remains astropy's.
"""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

__all__ = ["decode_rice"]

_TYPES = {16: np.int16, 32: np.int32}
_DESCRIPTORS: dict[str, Any] = {"P": np.dtype(">i4"), "Q": np.dtype(">i8")}


def decode_rice(content: bytes) -> NDArray[np.int16] | NDArray[np.int32] | None:
    """The stored numbers of the first image of a file, row 0 first; None if it is not laid out as JSOC does.

    Parameters
    ----------
    content : bytes
        The whole file, not gzipped.

    Raises
    ------
    ValueError, RuntimeError
        If the compressed bytes are damaged.
    """
    with fits.open(io.BytesIO(content), disable_image_compression=True, lazy_load_hdus=True) as units:
        unit = next((one for one in units if one.header.get("ZIMAGE")), None)
        if unit is None or any(one.header.get("NAXIS") for one in units[: units.index(unit)]):
            return None
        header, data = unit.header, unit.fileinfo()["datLoc"]
    width, height = header["ZNAXIS1"], header.get("ZNAXIS2", 0)
    parameters = {header[f"ZNAME{number}"]: header[f"ZVAL{number}"] for number in (1, 2) if f"ZNAME{number}" in header}
    kind, form = _TYPES.get(header["ZBITPIX"]), header["TFORM1"].lstrip("1")[:1]
    as_jsoc = (
        header["ZCMPTYPE"] in ("RICE_1", "RICE_ONE")
        and header["ZNAXIS"] == 2
        and header["TFIELDS"] == 1
        and header["NAXIS2"] == height
        and header.get("ZTILE1", width) == width
        and header.get("ZTILE2", 1) == 1
        and form in _DESCRIPTORS
        and kind is not None
        and parameters.get("BYTEPIX", 4) == np.dtype(kind).itemsize
    )
    if not as_jsoc or kind is None:
        return None
    places = np.frombuffer(content, _DESCRIPTORS[form], 2 * height, data).reshape(height, 2).astype(np.int64)
    heap = data + header.get("THEAP", header["NAXIS1"] * height)
    starts, image = (places[:, 1] + heap).tolist(), np.empty((height, width), dtype=kind)
    block = parameters.get("BLOCKSIZE", 32)
    for row, (start, length) in enumerate(zip(starts, places[:, 0].tolist(), strict=True)):
        imagecodecs.rcomp_decode(content[start : start + length], nblock=block, out=image[row])
    return image
