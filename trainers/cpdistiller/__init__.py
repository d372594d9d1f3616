"""cpDistiller for feature vectors: a Gaussian-mixture VAE with triplets and discriminators of batch, row and column."""
