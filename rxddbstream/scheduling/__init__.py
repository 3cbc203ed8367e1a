"""Threads and waiting: a pool of timers, a coroutine on a scheduler, a bounded queue between threads."""
