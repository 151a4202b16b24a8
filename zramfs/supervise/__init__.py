"""Runs a command on somebody's behalf, and ends all of its processes with it."""
