"""The machine and the law: plans, runs, evidence, verdicts."""
