"""What everything stands on: errors, settings, batches, files that survive a crash."""
