//! Who belongs to the cluster, as `--cluster` says it, and the cluster's identity.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use raft_core::{ClusterConfig, NodeId};

/// The members a cluster is founded with: their ids and Raft addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    addresses: BTreeMap<u64, Address>,
    /// The name of the cluster, if it is not the one that these members found.
    name: Option<u64>,
}

/// `HOST:PORT`, with a name or a number for the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The same host, `offset` ports further.
    ///
    /// # Errors
    ///
    /// If there is no such port.
    pub fn offset(&self, offset: u16) -> Result<Self, String> {
        let port = self.port.checked_add(offset).ok_or_else(|| {
            format!(
                "the client port of {self} would be {}, above 65535: give a smaller \
                 --client-port-offset, or --client-bind",
                u32::from(self.port) + u32::from(offset)
            )
        })?;
        Ok(Self { host: self.host.clone(), port })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host, at another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    /// As a socket address, if the host is a number.
    pub fn to_socket_addr(&self) -> Option<SocketAddr> {
        self.to_string().parse().ok()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no address: write HOST:PORT, like 127.0.0.1:8080");
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let is_v6 = host.starts_with('[') && host.ends_with(']');
        let has_odd_byte = host.contains(|c: char| c.is_whitespace() || c == '=' || c == ',');
        if host.is_empty() || has_odd_byte || (host.contains(':') && !is_v6) {
            return Err(bad());
        }
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
            format!("{text:?} has no valid port: it must be a number from 1 to 65535")
        })?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let text = address.to_string();
        let host = text.rsplit_once(':').map_or("", |(host, _)| host);
        Self { host: host.to_owned(), port: address.port() }
    }
}

impl FromStr for Members {
    type Err = String;

    /// Reads `1=HOST:PORT,2=HOST:PORT`, or bare addresses, which are numbered from 1.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
        if parts.is_empty() {
            return Err("no member is given: write 1=HOST:PORT,2=HOST:PORT,...".into());
        }
        let named = parts.iter().filter(|part| part.contains('=')).count();
        if named != 0 && named != parts.len() {
            return Err("some members have an id and some have none: give all of them one, as in \
                        1=HOST:PORT, or none"
                .into());
        }
        let mut members = BTreeMap::new();
        for (number, part) in (1..).zip(parts) {
            let (id, address) = match part.split_once('=') {
                Some((id, address)) => (parse_id(id)?, address),
                None => (number, part),
            };
            if members.insert(id, address.trim().parse()?).is_some() {
                return Err(format!("the id {id} is given twice: every member needs its own"));
            }
        }
        check_addresses_differ(&members)?;
        Ok(Self { addresses: members, name: None })
    }
}

fn parse_id(text: &str) -> Result<u64, String> {
    let id = text.trim().parse::<u64>().ok().filter(|id| *id > 0);
    id.ok_or_else(|| format!("{text:?} is no node id: it must be a number from 1 up"))
}

fn check_addresses_differ(members: &BTreeMap<u64, Address>) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for (id, address) in members {
        if let Some(other) = seen.insert(address, id) {
            return Err(format!(
                "nodes {other} and {id} have the same address {address}: every member needs its own"
            ));
        }
    }
    Ok(())
}

impl Members {
    /// A cluster of one.
    pub fn single(id: u64, address: Address) -> Self {
        Self { addresses: BTreeMap::from([(id, address)]), name: None }
    }

    /// The Raft address of a member.
    pub fn address(&self, id: u64) -> Option<&Address> {
        self.addresses.get(&id)
    }

    /// Every member, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Address)> {
        self.addresses.iter().map(|(id, address)| (*id, address))
    }

    /// The ids, for messages.
    pub fn ids(&self) -> String {
        let ids: Vec<String> = self.addresses.keys().map(u64::to_string).collect();
        ids.join(", ")
    }

    /// As Raft's configuration: all of them vote.
    pub fn to_config(&self) -> ClusterConfig {
        ClusterConfig::of_voters(self.addresses.keys().copied().map(NodeId::new))
    }

    /// The name of the cluster that these members found: a hash of their ids and addresses, so
    /// that nodes that were told different things do not take each other for their own.
    pub fn cluster_id(&self) -> u64 {
        self.name.unwrap_or_else(|| name_of(&self.to_string()))
    }

    /// The same members, of a cluster with this name: one that was restored or recovered.
    #[must_use]
    pub fn named(self, name: u64) -> Self {
        Self { name: Some(name), ..self }
    }
}

/// A name for a cluster that began like this.
pub(crate) fn name_of(origin: &str) -> u64 {
    // FNV-1a: short, spread well enough to tell clusters apart, and the same for ever.
    origin.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (id, address)) in self.addresses.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{id}={address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_with_ids_or_numbered() {
        let named: Members = "2=b:2, 1=a:1".parse().unwrap();
        let bare: Members = "a:1,b:2".parse().unwrap();
        assert_eq!(named, bare);
        assert_eq!(named.to_string(), "1=a:1,2=b:2");
        assert_eq!(named.cluster_id(), bare.cluster_id());
        let other: Members = "a:1,b:3".parse().unwrap();
        assert_ne!(named.cluster_id(), other.cluster_id());
    }

    #[test]
    fn the_id_of_a_cluster_never_changes() {
        let members: Members = "127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082".parse().unwrap();
        assert_eq!(members.cluster_id(), 0xe16e_73c9_df23_d484);
    }

    #[test]
    fn a_cluster_that_was_restored_has_the_name_that_it_was_given() {
        let members: Members = "a:1,b:2".parse().unwrap();
        let named = members.clone().named(7);
        assert_eq!((named.cluster_id(), named.to_string()), (7, members.to_string()));
    }

    #[test]
    fn bad_members_are_refused_with_their_value() {
        let said = |text: &str| text.parse::<Members>().unwrap_err();
        assert!(said("1=a:1,1=b:2").contains("id 1 is given twice"));
        assert!(said("a:1,a:1").contains("the same address a:1"));
        assert!(said("1=a:1,b:2").contains("some have none"));
        assert!(said("0=a:1").contains("\"0\""));
        assert!(said("1=a").contains("HOST:PORT"));
        assert!(said("1=a:0").contains("port"));
        assert!(said("1=a:99999").contains("port"));
        assert!(said("1=::1:80").contains("HOST:PORT"));
        assert!(said(" , ").contains("no member"));
        assert!("1=[::1]:80".parse::<Members>().is_ok());
    }

    #[test]
    fn the_client_port_is_an_offset_away() {
        let address: Address = "a:8080".parse().unwrap();
        assert_eq!(address.offset(1000).unwrap().to_string(), "a:9080");
        let high: Address = "a:65000".parse().unwrap();
        assert!(high.offset(1000).unwrap_err().contains("66000"));
    }
}
