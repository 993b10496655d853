"""What each table has in its columns: a file per layout, in the paper's order."""
