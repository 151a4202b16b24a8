"""The block device: slots, the commit of compressed runs, and reading them back."""
