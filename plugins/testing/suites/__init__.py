"""One suite of checks for each kind of component, in the module of the kind's name."""
