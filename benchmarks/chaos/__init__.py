"""Study: sweeps that are disturbed at random moments, on several Ray nodes, with MLflow on Postgres."""
