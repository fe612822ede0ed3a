"""Blame: which layers an optimization's loss comes from, and what is left of it where these stay as they were."""
