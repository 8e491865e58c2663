"""Trains one configuration by an ordinary `lightning.Trainer`."""
