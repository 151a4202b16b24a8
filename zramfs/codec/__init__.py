"""Compiled work on runs of pages: what a codec is, what a compressed run is, and LZ4."""
