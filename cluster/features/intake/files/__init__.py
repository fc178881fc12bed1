"""Files as people have them: archives, encodings, tables."""
