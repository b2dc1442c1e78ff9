"""The delegate: takes the tasks whose selectors it carries, verifies each itself, and is the only program that opens secrets."""
