"""The interaction map: batch, sessions, threads and gathering ahead, each beside each, on this machine."""
