"""From events to what people and machines read: console lines, JSON lines. Names no metric elsewhere."""
