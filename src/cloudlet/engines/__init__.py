"""The world below: ports that say what is needed, and the adapters that do it."""
