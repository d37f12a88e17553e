"""The loops that bring the world to what the records say."""
