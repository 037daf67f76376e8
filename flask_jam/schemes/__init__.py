"""Authentication schemes."""
