//! A write-ahead log for Raft on files, and its recovery
