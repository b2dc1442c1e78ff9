"""Values in one encrypted file of the delegate's machine."""
