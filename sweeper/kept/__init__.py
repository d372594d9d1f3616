"""After the verdict: models that are kept, the screen corrected by them, new batches through them."""
