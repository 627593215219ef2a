"""Modules of a user that a test has run."""

import sys


def forget_modules(folder):
    """Forgets the modules whose files lie in a folder, and the folder as a place of modules."""
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None) or "").startswith(f"{folder}/"):
            del sys.modules[name]
    sys.path[:] = [place for place in sys.path if not place.startswith(str(folder))]
