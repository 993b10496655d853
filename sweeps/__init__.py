"""Settings to runs: studies as data, and one door each to Ray Tune, Ray Train and MLflow."""
