"""A study's table as Markdown, CSV, LaTeX and terminal text: rendering only, the same cells in each."""
