"""Bytes to operations and back, for every protocol AWS speaks."""
