"""The commands a person types."""


def main() -> int:
    """Runs one command; its exit status."""
    raise SystemExit("cloudlet: no commands yet")
