"""Operations and spaces as values: the package's, and a user's as `module:attribute`.

Read `operation` first. `package` has the package's operations, and `loading` finds an operation by name. `checks` finds
a space, and refuses one that no search can search. `reference` finds any value by the reference, also the parts of
searches and callbacks, and `modules` runs the files. No module here imports jax.
"""
