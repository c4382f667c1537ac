"""Reports: ``report`` writes what is known of a sparse model to one HTML file."""
