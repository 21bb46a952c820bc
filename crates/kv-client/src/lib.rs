//! A blocking client: finds the leader, pipelines, retries what is safe
