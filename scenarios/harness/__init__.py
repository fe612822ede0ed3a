"""LoadGen and what stands between it and a backend."""
