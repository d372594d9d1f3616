"""From inference to one verdict a curve, a view and a sweep."""
