"""Ray Train around `fit`: which rows, on which workers, resumed after any kill."""
