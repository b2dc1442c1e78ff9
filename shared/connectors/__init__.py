"""What a connector's `spec` may say, one file a kind, in the words of the YAML that users have.

A model checks the form of settings and names the secrets that they refer to; what a provider thinks of them is for the
delegate to find out. Adding a kind is one file here and one line in `kinds`.
"""
