"""Streams: per-CPU and backend-managed ones under one contract, and the choice between them."""
