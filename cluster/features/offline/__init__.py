"""Keep what was ever known of views, and say what held at any moment."""
