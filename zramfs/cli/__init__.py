"""The command line: arguments to wiring, one file a verb."""
