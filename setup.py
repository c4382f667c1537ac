"""Builds the package. What it is stands in pyproject.toml; this file is where the compiled kernels will come in."""

from setuptools import setup

setup()
