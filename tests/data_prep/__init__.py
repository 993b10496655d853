"""Tests of data_prep, file by file."""
