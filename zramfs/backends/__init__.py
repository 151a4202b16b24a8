"""Compression backends, one codec per file; `registry` finds those of other packages too."""
