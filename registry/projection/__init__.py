"""The projection: one task per replica that keeps every tenant's view current."""
