"""Credentials of clouds, obtained where they are used: one file a cloud, loaded by the kinds that need it."""
