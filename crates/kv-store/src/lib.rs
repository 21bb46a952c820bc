//! The replicated state machine: multi-version keys with revisions
