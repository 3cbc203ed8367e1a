"""Event time: the watermark, the windows, and what becomes of a window's changes. Pure."""
