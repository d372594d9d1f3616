"""Biological metrics: how much of the phenotype is left in the embedding."""
