"""Capabilities that read: one file each; files that begin with `_` help them."""
