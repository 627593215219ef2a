"""Adds to pyproject.toml what it cannot say: configs/ is installed as nge_jax/configs, where they are found by name."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["nge_jax*"]), "nge_jax.configs"],
    package_dir={"nge_jax.configs": "configs"},
)
