"""Lines on the terminal: the banner before a run, progress and waiting during it."""
