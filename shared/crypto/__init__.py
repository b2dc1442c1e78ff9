"""Everything that touches plaintext or private keys. The manager must not import it, nor is it in the manager's image."""
