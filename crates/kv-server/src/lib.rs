//! Wires consensus, log, network and store into a server
