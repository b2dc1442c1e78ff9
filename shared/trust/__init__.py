"""Who may say what: grants, chains, certificates, status. Verifying only, and pure; time is an argument."""
