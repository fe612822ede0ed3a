"""Cheaper post-processing of detections: what it gains and what it costs."""
