"""Which entries of a matrix are kept, and in which order their values lie."""
