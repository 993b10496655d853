"""Puzzle files to arrays: read or generate puzzles, split them without leaks, save them with a manifest."""
