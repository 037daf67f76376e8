"""The factory example on several workers that share one Redis; start it with ``run.py``."""
