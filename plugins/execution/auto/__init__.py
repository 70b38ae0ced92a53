"""Which form each masked layer gets."""
