"""What a view is: named, typed columns about a key, with an event time."""
