"""A site whose functions wait for a person, served by processes of its own."""
