"""The datasets: one file each, with its digests, its loading and its preprocessing."""
