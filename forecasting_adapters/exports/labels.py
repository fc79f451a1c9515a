"""Labels of synthetic frames as forecasters write them: always read off the flux, never compared as text."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecasting_adapters.exports.contract import Plan
from sunaug.errors import UsageError
from sunaug.goes_classes import class_letters, parse_goes_class

__all__ = ["at_least", "check_forecasts", "flare_types"]

_ROUNDING = 1e-6  # as in `sunaug.goes_classes.class_letters`


def check_forecasts(plan: Plan) -> None:
    """Refuse frames whose forecast flux is not known: they have no label.

    Raises
    ------
    UsageError
        If there is one.
    """
    unknown = plan.numbers[np.isnan(plan.forecast_flux)]
    if len(unknown):
        raise UsageError(
            f"{plan.name}: the forecast flux of {len(unknown)} of {len(plan)} samples is not known (the first is "
            f"{unknown[0]}), so they have no label; generate with a bundle that is conditioned on forecast_flux."
        )


def at_least(flux: ArrayLike, goes_class: str) -> NDArray[np.bool_]:
    """Whether each flux (W m-2) reaches a GOES class.

    Raises
    ------
    UsageError
        If `goes_class` is not one.
    """
    return np.asarray(flux, dtype=np.float64) * (1 + _ROUNDING) >= parse_goes_class(goes_class)


def flare_types(flux: ArrayLike, none: str) -> list[str]:
    """``C``, ``M`` or ``X`` of each flux (W m-2), and `none` for all below C1.0."""
    return [str(letter) if letter in ("C", "M", "X") else none for letter in class_letters(flux)]
