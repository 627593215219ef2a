"""A user's own operations, tried before a network computes anything. `check` raises in one line where one is wrong."""
