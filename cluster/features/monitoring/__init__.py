"""What was served, held to the offline join and to the training rows."""
