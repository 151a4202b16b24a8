"""The block layer: a bio comes in, a bio is ended, on any thread and without the GIL."""
