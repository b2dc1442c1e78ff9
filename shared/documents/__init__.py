"""Signed documents: one file a kind, `jws` for the form that all of them share.

A document is data that somebody vouches for. These modules say what a document may contain; who may sign it, and
whether that still holds, is for `shared.trust` to decide.
"""
