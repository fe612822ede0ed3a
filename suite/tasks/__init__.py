"""What a child process can be asked to do, by the kind of task; suite/worker.py calls them by name."""
