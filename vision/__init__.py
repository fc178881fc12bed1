"""Capabilities that see: one file each; files that begin with `_` help them."""
