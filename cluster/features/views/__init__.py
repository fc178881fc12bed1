"""The views that Lepton comes with; a file that you add here is found by its place."""
