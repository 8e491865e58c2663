"""Measurements of this library beside its alternatives. README.md here says what each command measures."""
