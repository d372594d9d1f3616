"""The verdict in words, rendered from its values alone."""
