"""Measurements anyone can repeat: each beside a peer or a physical limit, as a ratio within one run."""
