"""Programs for those who develop susy-worker. Not installed."""
