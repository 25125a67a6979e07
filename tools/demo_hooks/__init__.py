"""`make demo-hooks`: an upload by tus, and everything that follows from it, on real servers. Read `__main__`."""
