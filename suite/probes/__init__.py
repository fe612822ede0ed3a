"""Short measurements without a verdict, on the sessions and through the SUT of a test: see its modules."""
