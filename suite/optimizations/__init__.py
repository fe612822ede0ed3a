"""What changes a variant: one file an optimization, found by name; it sets an option or a serving, or makes a model."""
