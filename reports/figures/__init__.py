"""Figures of a study, a file each: pure functions to their numbers first, then the picture. The door: every.py."""
