"""Technical metrics: how little of the batch is left in the embedding."""
