"""Keep the newest rows of views by key, and look them up."""
