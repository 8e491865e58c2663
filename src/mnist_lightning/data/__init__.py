"""The data: files and data sets, splits, the order of batches, digits drawn from fonts."""
