//! The latest observation of every tracked execution, compact.
