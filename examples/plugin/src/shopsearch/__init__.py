"""Search in our shop: our own network as an embedder, and a store in one SQLite file."""
