"""The compose file of deploy/ on trial: built, started, and called (`./dev container`)."""
