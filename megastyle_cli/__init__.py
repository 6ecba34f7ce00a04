"""Composable Unix tools for image style."""

__version__ = "0.2.0"
