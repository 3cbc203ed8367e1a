"""What a stream is made of: records and their values, changes, shards, positions, events. Pure."""
