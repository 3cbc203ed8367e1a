"""From a stream's shards to its changes: discovery, polling, delivery; `changes()` and `shards()`."""
