"""What HTTP and the command line share: the catalog, and the feature layer in this process."""
