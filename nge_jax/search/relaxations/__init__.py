"""Relaxations that see the logits as well as P, each in a file, and the form that parts from outside have, too."""
