"""Composable Unix tools for image style: caption, dedup, cluster, pair, synth, retrieve, transfer, eval."""

__version__ = "0.1.0"
