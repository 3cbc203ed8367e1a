"""Captures: a stream that writes itself to a file, and the file as a simulated stream."""
