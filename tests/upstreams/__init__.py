"""Scripted upstreams: servers that answer, fail and stall exactly as a test asks them to."""
