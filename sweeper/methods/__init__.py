"""Several methods on one screen: a sweep of each on its own dial, on the same held-out rows, then a comparison."""
