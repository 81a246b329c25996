//! HTTP: connections, limits, TLS and authentication. It knows not what it serves.
