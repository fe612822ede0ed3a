"""Tools that work offline: on data, on weights, and on evidence."""
