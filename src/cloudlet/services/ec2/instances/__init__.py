"""EC2's instances: virtual machines, from the request that launches them to the hour after their end."""
