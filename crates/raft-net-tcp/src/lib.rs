//! Moves Raft messages between nodes over TCP
