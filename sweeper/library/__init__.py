"""The library behind `import sweeper`: the only way, with the command line, from a sweep to its report."""
