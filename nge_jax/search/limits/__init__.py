"""Limits on the network of the cell that a search finds: the `network`, and the `limits` on all cells' costs in it."""
