"""The file system: turns FUSE requests into Bios and attribute calls. The only place with pyfuse3.

The companion is loaded here, so that it stands before pyfuse3 whichever file of this folder is imported first.
"""

from zramfs.fuse import companion as companion
