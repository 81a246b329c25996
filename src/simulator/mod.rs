//! A simulated AWS IoT control plane. It knows nothing of the exporter.
