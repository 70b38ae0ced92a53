"""One run: experiment, loop, events, evaluation, diagnostics, mask updates, checkpoint, record."""
