"""Capabilities that recommend: one file each; files that begin with `_` help them."""
