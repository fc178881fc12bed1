"""HTTP: one application for each capability, and the door at `/`."""
