"""A GPU that computes nothing and counts everything: torch and Triton run and compile on it as on a real one."""
