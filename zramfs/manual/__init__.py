"""Manual pages: what click knows of a verb, and prose beside it, as roff."""
