"""The result store: one folder a sweep, and the tables made from it."""
