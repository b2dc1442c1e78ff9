"""Secret managers: where values are kept, one file a kind, all held to tests/contract/test_secret_managers.py.

    interface   what a kind promises
    enveloped   makes a secret manager of anything that can wrap a key
    local       the built-in kind: wraps with the keyring's own keys
    registry    finds a kind when a connector names it, and loads it only then

A kind is an entry point of the group `privyseal.secret_managers`: its name is the connector's `type`, its object an
`interface.Kind`. A cloud's SDK is imported by that kind's file alone.
"""
