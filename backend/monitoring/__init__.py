"""How the machine and the services are."""
