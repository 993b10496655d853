"""One file per search."""
