"""What every part of the house speaks: calls, errors, clocks, names, and the declaration of a service."""
