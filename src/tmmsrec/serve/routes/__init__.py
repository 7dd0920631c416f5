"""The routes, by what one does with them: ask, look, change, watch, see the page."""
