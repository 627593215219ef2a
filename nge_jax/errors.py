"""What a user did wrong; the commands show these in one line and end with exit code 2."""


class InputError(ValueError):
    """A refused flag, config value, file, data folder or working directory.

    The message is one line that names the key or the file, what was found and what was expected;
    `nge_jax.main` prints it and exits with code 2. Every other exception keeps its traceback.
    """


class GenotypeError(ValueError):
    """A genotype that cannot be used; the message is one line and names the offending field."""
