//! From `--cluster` and `--endpoints` to client addresses.

use std::collections::BTreeSet;

/// The client addresses of servers with these Raft addresses: `HOST:PORT`, numbered from 1 where
/// they stand, or `ID=HOST:PORT`; each port plus `offset`.
pub(crate) fn of_cluster(list: &str, offset: u16) -> Result<Vec<String>, String> {
    let mut ids = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut endpoints = Vec::new();
    for (position, member) in (1_u64..).zip(split(list, "--cluster")?) {
        let (id, address) = match member.split_once('=') {
            Some((id, address)) => (id.parse().map_err(|_| bad_id(member))?, address),
            None => (position, member),
        };
        let (host, port) = host_and_port(address)?;
        if !ids.insert(id) {
            return Err(format!("node {id} is there twice in --cluster: give each its own id"));
        }
        if !seen.insert(address) {
            return Err(twice(address));
        }
        let client_port = port.checked_add(offset).ok_or_else(|| {
            format!(
                "port {port} of {address} plus the client port offset {offset} is above 65535: \
                 use a smaller --client-port-offset, or --endpoints"
            )
        })?;
        endpoints.push(format!("{host}:{client_port}"));
    }
    Ok(endpoints)
}

/// These client addresses, exactly.
pub(crate) fn of_endpoints(list: &str) -> Result<Vec<String>, String> {
    let mut seen = BTreeSet::new();
    let mut endpoints = Vec::new();
    for address in split(list, "--endpoints")? {
        host_and_port(address)?;
        if !seen.insert(address) {
            return Err(twice(address));
        }
        endpoints.push(address.to_owned());
    }
    Ok(endpoints)
}

fn split<'a>(list: &'a str, flag: &str) -> Result<impl Iterator<Item = &'a str>, String> {
    if list.trim().is_empty() {
        return Err(format!("{flag} is empty: name at least one HOST:PORT"));
    }
    Ok(list.split(',').map(str::trim))
}

fn host_and_port(address: &str) -> Result<(&str, u16), String> {
    let bad = |why: &str| format!("{address:?} is not an address: {why}");
    let (host, port) =
        address.rsplit_once(':').ok_or_else(|| bad("it has no port, write HOST:PORT"))?;
    let is_bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    match (host, port.parse()) {
        ("", _) => Err(bad("it has no host, write HOST:PORT")),
        _ if is_bare_ipv6 => Err(bad("write an IPv6 host in brackets, as in [::1]:8080")),
        (_, Ok(0) | Err(_)) => Err(bad("its port is not a number from 1 to 65535")),
        (host, Ok(port)) => Ok((host, port)),
    }
}

fn bad_id(member: &str) -> String {
    format!("{member:?} does not begin with a node's number: write ID=HOST:PORT or HOST:PORT")
}

fn twice(address: &str) -> String {
    format!("{address} is there twice: name each server once")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_served_at_its_ports_plus_the_offset() {
        let expected = Ok(vec!["a:9080".to_owned(), "[::1]:9081".to_owned()]);
        assert_eq!(of_cluster("1=a:8080,2=[::1]:8081", 1000), expected);
        assert_eq!(of_cluster("a:8080, [::1]:8081", 1000), expected);
        assert_eq!(of_cluster("a:65535", 0), Ok(vec!["a:65535".to_owned()]));
    }

    #[test]
    fn endpoints_are_used_as_they_are() {
        assert_eq!(of_endpoints("a:1,b:2"), Ok(vec!["a:1".to_owned(), "b:2".to_owned()]));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_value_in_the_sentence() {
        let bad = [
            ("", "empty"),
            ("a", "\"a\""),
            ("a:8080,", "\"\""),
            (":8080", "no host"),
            ("::1:8080", "brackets"),
            ("a:0", "1 to 65535"),
            ("a:65536", "1 to 65535"),
            ("x=a:8080", "\"x=a:8080\""),
            ("1=a:8080,1=b:8080", "node 1"),
            ("2=a:8080,b:8080", "node 2"),
            ("a:8080,a:8080", "a:8080 is there twice"),
            ("a:64536", "above 65535"),
        ];
        for (list, part) in bad {
            let error = of_cluster(list, 1000).expect_err(list);
            assert!(error.contains(part), "{list}: {error}");
        }
        assert!(of_endpoints("a:1,a:1").is_err());
        assert!(of_endpoints("1=a:1").is_ok(), "a name is not checked here");
    }
}
