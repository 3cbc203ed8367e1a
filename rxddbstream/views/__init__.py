"""For people's eyes: a change as text, a stream's shards as a tree. Nothing below knows of it."""
