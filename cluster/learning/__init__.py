"""Models that need no network, kept as plain arrays."""
