"""Backends from outside the tree: cheats, faulty ones, and an honest one whose answers depend on the batch.

Each wraps the real onnxruntime backend and is used by its dotted name, as in --backend tests.zoo.memoising.
"""
