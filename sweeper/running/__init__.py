"""Running a sweep: rounds in the driver, packs of cells on Ray, scores into the store."""
