"""A run that goes on in another process: following its files, and showing it in a terminal."""
