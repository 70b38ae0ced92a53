"""What learns: networks, masks, learner, policy, state, randomness."""
