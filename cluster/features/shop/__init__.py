"""A made-up shop, for tests and demonstrations without data."""
