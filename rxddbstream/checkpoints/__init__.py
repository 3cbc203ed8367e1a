"""What is done: each shard's frontier, as text, in a store, so that a consumer goes on where it stopped."""
