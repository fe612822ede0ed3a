"""What changes a variant: one file an optimization, found by name; each sets a runtime's option or makes a model."""
