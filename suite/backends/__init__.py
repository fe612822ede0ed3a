"""What runs a model on a device: one file a backend, found by its name. The contract is scenarios.base.Backend."""
