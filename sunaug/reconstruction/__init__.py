"""Real frames as a generator makes them: projected, reconstructed, and completed where channels are missing.

`source` chooses and reads real frames, `sunaug.latent.projection` finds their w, `writing` writes what the generator
makes of it into a cube of reconstructions, `scores` compares that with the real frames, and `baselines` says how near
one comes without a generator.
"""

from sunaug.reconstruction.baselines import Baselines, fit_baselines
from sunaug.reconstruction.scores import Errors, rms_error, total_error
from sunaug.reconstruction.source import RealFrames, real_frames
from sunaug.reconstruction.writing import reconstruct, total_steps

__all__ = [
    "Baselines",
    "Errors",
    "RealFrames",
    "fit_baselines",
    "real_frames",
    "reconstruct",
    "rms_error",
    "total_error",
    "total_steps",
]
