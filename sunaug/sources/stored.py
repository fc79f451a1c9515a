"""FITS files below astropy: their checksums, and Rice-compressed images decoded by imagecodecs.

JSOC's files hold a tile a row, 4,096 of them, and a good part of the time that astropy takes for such a file goes into
its loop over tiles. The decoder is the same in both, that of CFITSIO. Only the layout that JSOC writes is read here
(FITS standard 4.0, section 10.1); whatever else there is remains astropy's.
`benchmarks/calibration_accuracy.py` times both.

Rice's code has no redundancy: a byte that changed on its way decodes to other pixels and to no error, so the sum that
JSOC writes into the header (DATASUM, section 4.4.2.7 and appendix J) is what tells.
"""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from sunaug.sources import RejectedFile

__all__ = ["read_stored"]

_TYPES = {16: np.int16, 32: np.int32}
_DESCRIPTORS: dict[str, Any] = {"P": np.dtype(">i4"), "Q": np.dtype(">i8")}


def read_stored(content: bytes) -> NDArray[np.int16] | NDArray[np.int32] | None:
    """The stored numbers of the first image of a file, row 0 first; None if it is not laid out as JSOC does.

    Parameters
    ----------
    content : bytes
        The whole file, not gzipped.

    Raises
    ------
    RejectedFile
        If the data's sum is not the header's.
    ValueError, RuntimeError
        If the compressed bytes cannot be decoded.
    """
    with fits.open(io.BytesIO(content), disable_image_compression=True, lazy_load_hdus=True) as units:
        unit = next((one for one in units if one.header.get("NAXIS")), None)
        if unit is None:
            return None
        header, place = unit.header, unit.fileinfo()
    _check_sum(header, content[place["datLoc"] : place["datLoc"] + place["datSpan"]])
    return _decode_rice(header, content, place["datLoc"]) if header.get("ZIMAGE") else None


def _check_sum(header: fits.Header, data: bytes) -> None:
    stated = str(header.get("DATASUM", "")).strip()
    if not stated.isdigit():
        return
    total = int(np.frombuffer(data, ">u4").sum(dtype=np.uint64))
    while total >> 32:  # a sum of ones' complement: what is carried out comes in again
        total = (total & 0xFFFFFFFF) + (total >> 32)
    if total != int(stated):
        raise RejectedFile("damaged FITS (the sum of its data is not the header's DATASUM); download it again.")


def _decode_rice(header: fits.Header, content: bytes, data: int) -> NDArray[np.int16] | NDArray[np.int32] | None:
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
