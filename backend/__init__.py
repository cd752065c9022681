"""The backend: services behind REST and WebSocket."""
