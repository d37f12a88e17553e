"""Records and work, in one SQLite file."""
