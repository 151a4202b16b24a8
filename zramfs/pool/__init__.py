"""Where compressed pages live: a user-space zsmalloc (size classes, zspages, the huge class, compaction)."""
