"""What is one file, one version, and one copy."""
