"""What an update, a model or a text model gives away, measured by attacks."""
