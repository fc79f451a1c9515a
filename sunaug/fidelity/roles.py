"""Teachers and judges: which figures a generator was made for, and which had no part in it.

A figure that something was trained on, fitted to or chosen by says nothing about it: the spectral filter, which was
fitted to the power spectrum of real frames, brought the gate's texture figure near its limit and took every other
feature network further away. Such a figure is a *teacher*. A set of samples can be refused for it, and never passes
by it: for that the gate asks figures that had no part, the *judges*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Literal

from sunaug.bundle import Bundle, BundleInfo, load_bundle
from sunaug.errors import SunaugError
from sunaug.fidelity.instruments import TEXTURE

__all__ = ["NOT_MADE", "Roles", "roles_of", "roles_of_cube", "teachers_of"]

_SPECTRAL = (
    TEXTURE,
    "power_spectrum*",
    "spectral_slope*",
    "fine_structure*",
    "corner_structure*",
    "checkerboard*",
    "stripes*",
)
"""What a filter that gives samples the mean power spectrum of real frames was made for."""


@dataclass(frozen=True)
class Roles:
    """Who teaches and who judges.

    Attributes
    ----------
    teachers : mapping of str to str, or None
        Patterns of feature networks and physical measures, and what each had a part in. None where it is not known
        what the generator was made with: then only Inception judges, which nothing in sunaug is trained on.
    """

    teachers: Mapping[str, str] | None

    def of(self, name: str) -> Literal["teacher", "judge", "unknown"]:
        """Role of a figure, by its name (``frechet EffNet-Lite2``, ``stripes aia171``)."""
        measure, _, rest = name.partition(" ")
        network = rest.split(" ")[0]
        if self.teachers is None:
            return "judge" if network.startswith("FID-") else "unknown"
        taught = any(fnmatch(network, pattern) or fnmatch(measure, pattern) for pattern in self.teachers)
        return "teacher" if taught else "judge"


NOT_MADE = Roles({})
"""Of frames that no generator has made."""


def teachers_of(info: BundleInfo, *, filtered: bool) -> dict[str, str] | None:
    """What a generator was trained on, fitted to or chosen by, and how.

    Parameters
    ----------
    info : BundleInfo
    filtered : bool
        Whether its samples go through a spectral filter.

    Returns
    -------
    dict of str to str, or None
        By the network's label, or a pattern of physical measures. None where the generator started from one that is
        not at hand, and the bundle does not say what that one was made with.
    """
    found: dict[str, str] = dict(info.training.get("teachers", {}))
    start = info.recipe.get("start")
    if start is not None and "teachers" not in info.training:
        try:
            begun = load_bundle(start)
        except SunaugError:
            return None
        earlier = teachers_of(begun.info, filtered=False)
        if earlier is None:
            return None
        found |= earlier
    if info.recipe.get("discriminator", "pixel") != "pixel":
        found["EffNet-Lite0"] = "a discriminator saw its features"
    chosen = info.training.get("chosen_by") or {}
    if "backbone" in chosen:
        found[str(chosen["backbone"])] = "the weights were chosen by it"
    if filtered:
        found |= dict.fromkeys(_SPECTRAL, "the spectral filter was fitted to power spectra")
    return found


def roles_of(bundle: Bundle) -> Roles:
    """Roles in judging what a bundle makes."""
    return Roles(teachers_of(bundle.info, filtered=bundle.finish is not None))


def roles_of_cube(attributes: Mapping[str, Any], bundle: Bundle | None) -> Roles:
    """Roles in judging a cube.

    Parameters
    ----------
    attributes : mapping
        The cube's; the gate leaves ``teachers`` in its attribute.
    bundle : Bundle or None
        The one that made it, where it is at hand.
    """
    if bundle is not None:
        return roles_of(bundle)
    if "SYNTHETIC" not in attributes and "bundle_hash" not in attributes:
        return NOT_MADE
    gate = attributes.get("gate")
    kept = gate.get("teachers") if isinstance(gate, Mapping) else None
    return Roles({str(name): str(why) for name, why in kept.items()} if isinstance(kept, Mapping) else None)
