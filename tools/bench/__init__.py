"""What tools.bench_harness measures, and how: its rows, their statistics, and the processes that measure."""
