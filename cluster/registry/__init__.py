"""Versions of models: files, manifests, cards, runs."""
