"""Everything that learns: screens in, embeddings out. Knows nothing of sweeps, Ray or MLflow."""
