"""Local stand-ins for what the clouds run around a function, for development and tests."""
