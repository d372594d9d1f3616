"""Image screens: listings of image files, packed into one memory-mapped array, read in mini-batches."""
