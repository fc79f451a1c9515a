"""The latent space: GANSpace directions and steering along them."""
