"""A real Asterisk in a container, and the parties that place calls on it. Knows nothing of the product."""
