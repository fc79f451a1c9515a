"""Cubes of reconstructions: real frames as a generator makes them again, neither observations nor samples.

They have the dimension ``sample`` and the marks of a synthetic cube, so that nothing takes them for observations. But
they show the days of real frames, validation and test days among them: they are no samples to train or to be judged on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sunaug.errors import UsageError

__all__ = ["RECONSTRUCTION", "refuse_reconstructions"]

RECONSTRUCTION = "reconstruction"
"""Attribute of a cube of reconstructions: how they were made and of what."""


def refuse_reconstructions(attributes: Mapping[str, Any], name: str) -> None:
    """Refuse a cube that holds reconstructions where generated samples are wanted.

    Parameters
    ----------
    attributes : mapping
        Of the cube.
    name : str
        What messages call it.

    Raises
    ------
    UsageError
        If it holds reconstructions.
    """
    if RECONSTRUCTION in attributes:
        raise UsageError(
            f"{name}: holds reconstructions of real frames, not samples; make samples with `sunaug generate`."
        )
