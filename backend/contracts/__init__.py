"""What crosses a boundary: events, entities, wire types, errors."""
