"""The directory destination: a mounted share or a local folder."""
