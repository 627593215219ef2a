"""Limits on the network of the cell that a search finds: which `network`, and the `limits` on the costs of all cells in it."""
