"""The arithmetic: network, losses, metrics, update rules, optimizers; torch alone."""
