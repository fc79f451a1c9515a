"""The encoder: a feature network that has seen nothing but real frames of the Sun.

Networks trained on photographs answer to edges and fur. This one is fitted on the train months of a cube, without
labels, in a few minutes on a CPU, and goes with the bundle. Turning, shifting and exposure change its features little,
blur, noise, checkerboards, missing active regions and swapped channels much. Distances between its features are meant
for sets of frames of the same cube: another cube has another encoder.
"""

from sunaug.encoder.fit import fit_encoder
from sunaug.encoder.network import SolarEncoder

__all__ = ["SolarEncoder", "fit_encoder"]
