"""What manager, delegate and client share: pure, without I/O, clock or program. See DESIGN in docs/architecture.md."""
