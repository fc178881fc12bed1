"""Media that rows hold: read with limits before anything is decoded, and written."""
