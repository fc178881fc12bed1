"""Look for what is wrong with stored rows: wrong labels, copies, leaks, outliers."""
