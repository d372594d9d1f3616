"""Study: cells a second into an MLflow server on Postgres."""
