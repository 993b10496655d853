"""Arrays to metrics: the model, its training loop, its checkpoints. Torch lives here; no Ray, no MLflow."""
