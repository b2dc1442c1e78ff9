"""The HTTP API for clients: one file a resource, `endpoint` for what they share, `app` where they come together."""
