"""The command line: Hydra underneath, one line per error, an exit code that tells the truth."""
