"""A trained Recommender over HTTP: ``application`` makes the app, ``tmmsrec serve`` runs it."""
