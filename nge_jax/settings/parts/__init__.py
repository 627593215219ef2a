"""Parts from outside the package: a config names one as `module:attribute`, and no file of the package changes.

`space.parts.reference` loads a part. `part` has the part's form. `named` finds the parts of a config, and the keys that
they declare. This package imports no jax; a part's module may.
"""
