//! JSON Schema of the configuration file.
