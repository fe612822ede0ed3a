"""How right a system is: metrics from LoadGen's accuracy log, on files alone."""
