"""Bring raw files of many kinds into views."""
