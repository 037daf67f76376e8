"""Issue, verify, rotate and revoke credentials. Independent of Flask."""
