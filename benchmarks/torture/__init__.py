"""Kills, crash points, full disks, malformed inputs and a hostile server, for all commands."""
