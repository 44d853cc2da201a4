"""Vector stores: each adapter stands alone and is reached by name, through its entry point."""
