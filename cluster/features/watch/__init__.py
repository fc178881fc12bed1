"""Hold what was served to what was stored and learnt from."""
