"""Accuracy against size: the networks that no other network beats in both, and their picture."""
