"""Everything that happens in a request, between the router and the view."""
