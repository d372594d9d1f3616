"""Several methods on one screen: where each stands on its dial, and which are not shown to be worse than the best."""
