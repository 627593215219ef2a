"""Cells as programs and users write them: `text` reads any of them, the other modules read one kind each.

`python_source` reads a Python file by its syntax tree, `literals` a printed value, and `records` the JSON objects of
other programs. Nothing that is read is ever run. No module here imports jax.
"""
