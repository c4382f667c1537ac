"""The commands of ``python -m keras_sparse``: ``arguments.py`` lists them, one file each."""
