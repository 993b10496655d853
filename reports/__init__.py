"""Runs to tables: the paper's tables from what MLflow recorded. No torch, no Ray."""
