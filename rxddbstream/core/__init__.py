"""The pure core: no threads, no clocks, no I/O. Time and answers come in as arguments."""
