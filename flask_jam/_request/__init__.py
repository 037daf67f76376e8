"""Request handling between the router and the view."""
