"""Decisions about Globus collections, logins and tasks."""
