"""Composable Unix tools for image style."""

__version__ = "0.1.0"
