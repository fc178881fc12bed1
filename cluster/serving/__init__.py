"""Ray Serve around `predict`: batches, live features, health, the request log."""
