"""The JSON API: one module a subject, each with a router whose routes say which right they ask for."""
