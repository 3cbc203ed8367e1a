"""What to ask the service next, and what an answer means: shard order, one shard's reader, pacing. Pure."""
