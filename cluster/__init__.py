"""What runs the capabilities: the contract, the loop, the feature layer, the registry, Ray."""
