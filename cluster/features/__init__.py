"""The shared feature layer: the only place where raw data becomes model input."""
