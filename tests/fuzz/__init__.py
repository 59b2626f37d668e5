"""Bytes that no service should send, found by coverage: `poe fuzz` runs them for minutes, the suite only the seeds."""
