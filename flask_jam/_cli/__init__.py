"""The ``flask jam`` commands."""
