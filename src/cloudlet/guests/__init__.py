"""Machine images: recipes that make them from packages, and the shelf where they wait to be taken in."""
