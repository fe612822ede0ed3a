"""What changes a variant: one file an optimization, found by name; each has `apply(variant, backend, parameters)`."""
