"""What reading a stream costs, next to boto3 and next to a bare HTTP loop. See `__main__.py`."""
