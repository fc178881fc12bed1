"""Whatever is spread over all nodes with Ray Data."""
