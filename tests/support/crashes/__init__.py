"""Training processes that are killed, and what has to hold after that."""
