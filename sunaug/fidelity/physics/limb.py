"""The limb: where it is, how sharp, how round, and how the corona fades beyond it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sunaug.fidelity.physics.columns import Table
from sunaug.fidelity.physics.planes import Plane
from sunaug.measures.limb import limb_shape, off_limb_fall
from sunaug.scaling import default_scaling

__all__ = ["limb"]


def limb(planes: Sequence[Plane]) -> Table:
    """Geometry of the disk in each channel CH that is not a magnetogram, on frames scaled as they are shown.

    - ``limb_radius CH``: radius of the fitted disk, in stated radii of the photosphere;
    - ``limb_offset CH``: distance of its centre from the frame's centre, in the same;
    - ``limb_width CH``: full width at half maximum of the brightness gradient across the limb, in the same;
    - ``limb_ellipticity CH``: flattening (a - b) / a of the fitted ellipse;
    - ``off_limb_fall CH``: fall of the mean intensity from 1.03 to 1.10 radii, per solar radius; left out where the
      frame does not reach so far.

    All scalars; see `sunaug.measures.limb` for how the first four are fitted.

    Parameters
    ----------
    planes : sequence of Plane
    """
    table: Table = {}
    for plane in planes:
        if plane.channel.signed:
            continue
        shape = limb_shape(plane.display, plane.geometry)
        stated = plane.geometry.disk_radius
        for name, values, unit in (
            ("limb_radius", shape.radius / stated, "stated radii"),
            ("limb_offset", np.hypot(*shape.centre.T) / stated, "stated radii"),
            ("limb_width", shape.width / stated, "stated radii"),
            ("limb_ellipticity", shape.ellipticity, "1"),
        ):
            table[f"{name} {plane.name}"] = plane.scalar(values, unit, "limb")
        scale = "browse" if plane.browse else "physical"
        lowest = default_scaling([plane.name], scale).low[0]
        fall = off_limb_fall(plane.intensity, plane.geometry, browse=plane.browse, lowest=lowest)
        if fall is not None:
            table[f"off_limb_fall {plane.name}"] = plane.scalar(fall, f"{plane.unit} per solar radius", "limb")
    return dict(sorted(table.items(), key=lambda item: _ORDER.index(item[0].split(" ")[0])))


_ORDER = ["limb_radius", "limb_offset", "limb_width", "limb_ellipticity", "off_limb_fall"]
