"""How credentials are issued, verified, rotated and revoked. Independent of Flask."""
