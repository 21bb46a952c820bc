//! The vocabulary of the key-value store: commands, requests, replies and errors
