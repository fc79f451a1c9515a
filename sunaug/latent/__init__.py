"""The latent space: GANSpace components, which direction makes a flare, and what each of them changes.

`ganspace` fits the components, `steering` the flare direction, `effects` measures and `atlas` draws them.
"""

from sunaug.latent.steering import FLARE, fit_directions

__all__ = ["FLARE", "fit_directions"]
