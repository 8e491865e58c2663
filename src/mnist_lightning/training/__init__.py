"""One configuration trained by an ordinary `lightning.Trainer`."""
