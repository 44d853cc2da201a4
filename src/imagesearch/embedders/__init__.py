"""Embedders: each file is one kind, imported only when it is chosen."""
