"""`zramfs compare`: one workload under several settings, driven from outside as a user would, and what it showed."""
