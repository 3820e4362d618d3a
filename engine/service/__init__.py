"""An engine as a service: what it tells its supervisor, and what it writes down."""
