"""The command line: `python -m services ...`."""
