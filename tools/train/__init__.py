"""Trains the reference models."""
