"""The configuration of a sweep: YAML in, one frozen value out."""
