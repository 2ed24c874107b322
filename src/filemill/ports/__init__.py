"""What the parts of filemill promise each other: protocols with their full promises, and the registry."""
