"""The study: what every optimization gains in throughput and costs in accuracy, and which of both is to be believed."""
