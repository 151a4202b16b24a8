"""What `import zramfs` offers to Python programs: a disk that lives as long as a `with`. docs/library.md tells."""
