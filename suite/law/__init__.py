"""The law: one file a rule, each a pure function of a pair of runs that returns a Check with its own code."""
