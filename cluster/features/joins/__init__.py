"""Point-in-time joins of stored rows."""
