"""What the suites share: tiny agents, made-up experience, runs, a new process, snapshots."""
