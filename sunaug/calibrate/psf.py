"""PSF deconvolution: takes the light that the filter meshes scatter back to where it came from.

Only level-1 images can be deconvolved: the meshes' diffraction pattern lies on the detector's pixels, and registration
turns and shifts them. The point spread functions and the Richardson-Lucy iteration are aiapy's (Grigis et al. 2012, AIA
PSF Characterization and Deconvolution).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sunaug.errors import SunaugError, UsageError
from sunaug.lexicon import CHANNELS
from sunaug.sources import Observation, RejectedFile

__all__ = ["PsfStore", "deconvolve"]

EUV = (94, 131, 171, 193, 211, 304, 335)
_loading = threading.Lock()


@dataclass(frozen=True)
class PsfStore:
    """Where point spread functions are kept, and how often the deconvolution iterates.

    Attributes
    ----------
    folder : pathlib.Path, optional
        Holds ``psf_<wavelength>.fits``; one that is missing is computed and written there. Without a folder each
        process computes its own and forgets it, which takes minutes for each channel.
    iterations : int
        Of Richardson and Lucy; 25 as in aiapy.
    """

    folder: Path | None
    iterations: int = 25

    def psf(self, wavelength: int) -> NDArray[np.float32]:
        """The point spread function of a channel, sum 1, shape (y, x), its centre at ``(y // 2, x // 2)``.

        Raises
        ------
        SunaugError
            If the file in the folder is not a point spread function.
        UsageError
            If it has to be computed and aiapy is not installed.
        """
        with _loading:  # else every thread computes it
            return _psf(self.folder, wavelength)


def _aiapy() -> Any:
    try:
        import aiapy.psf
    except ImportError:
        raise UsageError(
            "PSF deconvolution needs aiapy, which is not installed: pip install 'sunaug[aia]', or leave it out."
        ) from None
    return aiapy.psf


@lru_cache(maxsize=len(EUV))
def _psf(folder: Path | None, wavelength: int) -> NDArray[np.float32]:
    import astropy.units as u
    from astropy.io import fits

    path = None if folder is None else folder / f"psf_{wavelength}.fits"
    if path is not None and path.exists():
        try:
            psf = np.asarray(fits.getdata(path), dtype=np.float64)
        except Exception as error:  # astropy raises what it likes on a damaged file
            raise SunaugError(f"{path}: not a FITS image ({error}); delete it to have it computed again.") from None
        if psf.ndim != 2 or not np.isfinite(psf).all() or (psf < 0).any() or psf.sum() <= 0:
            raise SunaugError(
                f"{path}: not a point spread function (an image of two axes, nowhere below zero); "
                "delete it to have it computed again."
            )
        return (psf / psf.sum()).astype(np.float32)
    psf = _aiapy().psf(wavelength * u.angstrom)
    psf = (psf / psf.sum()).astype(np.float32)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        fits.PrimaryHDU(psf).writeto(partial, overwrite=True)
        partial.replace(path)
    return psf


def deconvolve(observation: Observation, store: PsfStore) -> Observation:
    """Deconvolve a level-1 EUV image of AIA with its point spread function; every other image comes back unchanged.

    Wraps ``aiapy.psf.deconvolve``, which keeps the sum of the image. Values below zero count as zero, as there. Missing
    pixels are filled with their nearest neighbour for the iteration, so that they draw no light, and are missing again
    in the result.

    Parameters
    ----------
    observation : Observation
        Level 1, full disk, in DN or DN/s.
    store : PsfStore

    Returns
    -------
    Observation
        float32, missing pixels NaN.

    Raises
    ------
    RejectedFile
        If the image is not as large as the point spread function, or has no valid pixel.
    SunaugError
        If the file of the point spread function cannot be used.
    UsageError
        If aiapy is not installed.
    """
    channel = CHANNELS[observation.channel]
    if observation.level != 1 or channel.instrument != "AIA" or channel.wavelength not in EUV:
        return observation
    module = _aiapy()
    psf = store.psf(channel.wavelength)
    if psf.shape != observation.image.shape:
        (height, width), (rows, columns) = observation.image.shape, psf.shape
        raise RejectedFile(
            f"the image has {width} x {height} pixels and the point spread function of {channel.label} "
            f"{columns} x {rows}; only whole level-1 images can be deconvolved."
        )
    image = observation.image.astype(np.float64)
    missing = np.isnan(image) if observation.blank is None else observation.image == observation.blank
    if missing.any():
        if missing.all():
            raise RejectedFile("no valid pixel to deconvolve.")
        from scipy.ndimage import distance_transform_edt

        nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
        image = image[tuple(nearest)]
    found = _iterate(module, image, psf, store.iterations).astype(np.float32)
    if not np.isfinite(found).all():
        raise RejectedFile("the PSF deconvolution did not stay finite; the image may be blank.")
    found[missing] = np.nan
    return replace(observation, image=found, blank=None)


def _iterate(
    module: Any, image: NDArray[np.float64], psf: NDArray[np.float32], iterations: int
) -> NDArray[np.floating]:
    import sunpy.map

    # aiapy takes a map, of which it reads the pixels alone.
    header = {"cunit1": "arcsec", "cunit2": "arcsec", "ctype1": "HPLN-TAN", "ctype2": "HPLT-TAN"}
    with np.errstate(divide="ignore", invalid="ignore"):
        deconvolved = module.deconvolve(sunpy.map.Map(image, header), psf=psf, iterations=iterations)
    return np.asarray(deconvolved.data)
