"""What changes a variant: one file an optimization, found by its name; each has `apply(variant, parameters)`."""
