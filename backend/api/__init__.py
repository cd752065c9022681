"""HTTP and WebSocket: unpack, call one thing, pack."""
