"""What a solar physicist measures on one frame, real or synthetic.

`limb` fits the disk, `regions` finds active regions and coronal holes, `frame` puts these and the brightness of the
channels together: one number per frame and measure. What to do with the numbers of many frames is for others.
"""

from sunaug.measures.frame import measure_frames, measure_unit
from sunaug.measures.limb import Geometry, fit_limb
from sunaug.measures.regions import active_regions, coronal_hole_area

__all__ = ["Geometry", "active_regions", "coronal_hole_area", "fit_limb", "measure_frames", "measure_unit"]
