"""The tests that run inside a Windows Python, under Wine."""
