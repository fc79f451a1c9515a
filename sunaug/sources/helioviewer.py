"""Helioviewer's JPEG 2000 images: 8-bit display counts and not DN/s, with the FITS header of the original in XML.

Only AIA: other telescopes' counts are scaled in ways of their own. The header's pointing is that of the image (level
1.5, 0.6 arcsec per pixel, north up); its DATAMIN to DATASKEW describe the FITS file and not the counts. The files are
made from quicklook data, so bit 30 of QUALITY is set in most of them.

Rows run from the north down, as in any picture, while the header counts them from the south; sunpy turns them round as
well. On the 193 Å image of 2022-01-01 the active regions 12916 and 12918, in the south-west, stand in the lower right.
The edge of that image's disk, where the dark rim of the chromosphere meets the bright corona, was fitted in 55 of 72
sectors: its radius is 1.0064 times RSUN_OBS / CDELT, with a scatter of 0.8 pixels, its centre 0.9 pixels from CRPIX.

References
----------
ISO/IEC 15444-1:2019, Annex A (end of codestream) and Annex I (boxes); Müller, D. et al. 2017, A&A 606, A10
(Helioviewer's files).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from upath import UPath

from sunaug.sources import FileReference, Observation
from sunaug.sources.headers import (
    aia_channel,
    disk_geometry,
    keyword,
    known_or_nan,
    number_or,
    observation_time,
    read_quality,
    sun_radius,
)
from sunaug.sources.plausibility import plausible
from sunaug.sources.rejected import RejectedFile

SUFFIXES = (".jp2",)
INTENSITY_SCALE = "browse"

SATURATION_COUNT = 255.0

_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_END_OF_CODESTREAM = b"\xff\xd9"
_LARGEST_HEADER = 2**20

Header = dict[str, str]


class _NoDocumentType(ElementTree.TreeBuilder):
    """Entities can only be declared in a document type, and a header has no use for any."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise RejectedFile("the header's XML declares a document type, which no Helioviewer file does.")


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of the content of the boxes at the top level (Annex I.4)."""
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            raise RejectedFile("truncated within a box; download it again.")
        length, kind = struct.unpack(">I4s", head[:8])
        start = place + 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
            start = place + 16
        end = place + length if length else size
        if end < start:
            raise RejectedFile(f"damaged JPEG 2000 (a box of {length} bytes at byte {place:,}); download it again.")
        if end > size:
            raise RejectedFile(f"truncated: {size:,} of {end:,} bytes; download it again.")
        yield kind, start, end
        place = end


def _keywords(xml: bytes) -> Header | None:
    """The FITS keywords of an XML box, upper case; None where it holds none."""
    parser = ElementTree.XMLParser(target=_NoDocumentType())
    try:
        parser.feed(xml.strip(b"\0 \r\n\t"))
        root = parser.close()
    except ElementTree.ParseError as error:
        raise RejectedFile(f"the header is not well-formed XML ({error}).") from None
    header = next(root.iter("fits"), None)
    return None if header is None else {node.tag.upper(): (node.text or "").strip() for node in header}


def _header(path: Path | UPath) -> Header:
    size = path.stat().st_size
    if size == 0:
        raise RejectedFile("an empty file; download it again.")
    header = None
    codestream = False
    with path.open("rb") as file:
        start = file.read(len(_SIGNATURE))
        if start != _SIGNATURE:
            text = re.sub(r"[^\x20-\x7e]+", " ", start.decode("latin-1")).strip()
            raise RejectedFile(f'not a JPEG 2000 image (starts with "{text}"); download it again.')
        for kind, begin, end in _boxes(file, size):
            if kind == b"xml " and header is None:
                if end - begin > _LARGEST_HEADER:
                    raise RejectedFile(f"the XML of the header is {end - begin:,} bytes long, which no FITS header is.")
                file.seek(begin)
                header = _keywords(file.read(end - begin))
            elif kind == b"jp2c":
                file.seek(max(begin, end - 2))
                codestream = file.read(2) == _END_OF_CODESTREAM
    if header is None:
        raise RejectedFile("holds no FITS header (no XML box with one): not a file of Helioviewer.")
    if not codestream:
        raise RejectedFile("truncated: the image has no end; download it again.")
    return header


def _channel(header: Header) -> str:
    instrument = f"{header.get('TELESCOP', '')} {header.get('INSTRUME', '')}".strip()
    if "AIA" not in instrument.upper():
        raise RejectedFile(f"not an AIA image but one of {instrument or 'an unknown telescope'}.")
    return aia_channel(header)


def _decode(path: Path | UPath) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as file, Image.open(file, formats=["JPEG2000"]) as picture:
            if picture.mode not in ("L", "P"):
                raise RejectedFile(f"not an image of 8-bit counts but of the kind {picture.mode}.")
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the network; errors of damaged content have no number
        raise RejectedFile(f"damaged JPEG 2000 ({error}); download it again.") from None


def refer(path: Path | UPath, channels: tuple[str, ...] | None = None) -> list[FileReference | RejectedFile]:
    """Time and channel of a Helioviewer image from its header; no pixel is decoded.

    Raises
    ------
    RejectedFile
        If it is no JPEG 2000 file, is truncated, has no readable header, or is not of AIA.
    """
    header = _header(path)
    time = observation_time(header)
    try:
        return [FileReference(path, "helioviewer", time, (_channel(header),))]
    except RejectedFile as error:
        raise RejectedFile(error.reason, time) from None


def read(reference: FileReference) -> list[Observation]:
    """A Helioviewer image as display counts 0 to 255.

    Raises
    ------
    RejectedFile
        If the file is damaged, the header lacks the pointing or tells of another image, or the disk is not wholly on
        the image.
    """
    header = _header(reference.path)
    geometry = disk_geometry(header)
    image = _decode(reference.path)[::-1]
    height, width = image.shape
    told = number_or(header, "NAXIS1", width), number_or(header, "NAXIS2", height)
    if told != (width, height):
        raise RejectedFile(f"the image has {width} x {height} pixels, and its header {told[0]:g} x {told[1]:g}.")
    return [
        plausible(
            Observation(
                channel=reference.channels[0],
                time=reference.time,
                image=image,
                geometry=geometry,
                unit="counts",
                exposure_time=known_or_nan(header, "EXPTIME"),
                quality=read_quality(keyword(header, "QUALITY")),
                saturation_level=SATURATION_COUNT,
                sun_radius=sun_radius(header),
                level=known_or_nan(header, "LVL_NUM"),
            )
        )
    ]
