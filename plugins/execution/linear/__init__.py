"""Linear layers of kept weights on a batch, with autograd."""
