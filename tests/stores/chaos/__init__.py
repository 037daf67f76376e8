"""Random faults between several processes and one Redis, and a checker of what came of it.

``python -m tests.stores.chaos`` runs it alone; :mod:`tests.stores.chaos.run` says how.
"""
