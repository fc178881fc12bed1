"""Ray on this machine or on a given cluster: start it, describe it, stop it."""
