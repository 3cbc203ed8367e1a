"""The service: a session, finding a stream, its calls, its errors, and the fast decoding of its answers."""
