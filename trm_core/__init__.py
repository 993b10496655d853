"""Arrays to metrics: the model, its training loop, its checkpoints. Torch lives here and only here; no Ray, no MLflow."""
