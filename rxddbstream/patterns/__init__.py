"""Lambda's event filter patterns. Pure."""
