"""Small tools that several rooms share. Independent of Flask."""
