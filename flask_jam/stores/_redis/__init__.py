"""What :mod:`flask_jam.stores.redis` is made of."""
