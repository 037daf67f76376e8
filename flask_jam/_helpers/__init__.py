"""Small tools that several packages share. Independent of Flask."""
