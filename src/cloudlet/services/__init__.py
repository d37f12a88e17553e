"""AWS, service by service."""
