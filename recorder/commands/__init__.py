"""The commands that tell: status, calls, recordings, consents, verify. They read and print, and change nothing."""
