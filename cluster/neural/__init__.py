"""What trains and serves any torch network: the loop, optimizers, export, backbones."""
