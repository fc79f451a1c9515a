"""The latent space: GANSpace directions (`ganspace`), and which of them makes a flare (`steering`)."""

from sunaug.latent.steering import FLARE, fit_directions

__all__ = ["FLARE", "fit_directions"]
