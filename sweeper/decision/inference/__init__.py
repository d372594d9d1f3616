"""The statistics of a curve: noise, brackets, posterior, what they summarise to."""
