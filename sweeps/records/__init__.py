"""The door to MLflow, in and out: campaigns, rows and runs as records."""
