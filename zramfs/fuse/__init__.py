"""The file system: turns FUSE requests into Bios and attribute calls. The only place with pyfuse3."""
