//! Where the nodes are: what the user said, and what the nodes said since.

use crate::error::Error;
use crate::resolve;

/// The most addresses that are remembered: more than any cluster has nodes.
const MAX_ENDPOINTS: usize = 64;

/// The client addresses known, and the one to use now.
///
/// Guarantee: there is at least one, and none is there twice.
#[derive(Clone, Debug)]
pub struct Endpoints {
    addresses: Vec<String>,
    current: usize,
}

impl Endpoints {
    /// The addresses that a user gave, as `HOST:PORT`.
    ///
    /// # Errors
    ///
    /// [`Error::BadEndpoint`] for one that cannot be, [`Error::NoEndpoints`] for none.
    pub fn new(given: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, Error> {
        let mut addresses: Vec<String> = Vec::new();
        for address in given {
            let address = address.into();
            if let Err(reason) = resolve::check(&address) {
                return Err(Error::BadEndpoint { address, reason });
            }
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(Error::NoEndpoints);
        }
        Ok(Self { addresses, current: 0 })
    }

    /// The address to use now.
    pub fn current(&self) -> &str {
        &self.addresses[self.current]
    }

    /// Every address known.
    pub fn all(&self) -> &[String] {
        &self.addresses
    }

    /// Goes on to the next address, round and round.
    pub(crate) fn advance(&mut self) {
        self.current = (self.current + 1) % self.addresses.len();
    }

    /// Remembers an address that a node told. One that cannot be is forgotten.
    pub(crate) fn learn(&mut self, address: &str) {
        let is_new = !self.addresses.iter().any(|known| known == address);
        if is_new && resolve::check(address).is_ok() && self.addresses.len() < MAX_ENDPOINTS {
            self.addresses.push(address.into());
        }
    }

    /// Uses this address from now on, if it can be one; otherwise the next.
    pub(crate) fn redirect(&mut self, address: &str) {
        self.learn(address);
        match self.addresses.iter().position(|known| known == address) {
            Some(position) => self.current = position,
            None => self.advance(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_used_in_turn_and_learned_ones_come_last() -> Result<(), Error> {
        let mut endpoints = Endpoints::new(["a:1", "b:2", "a:1"])?;
        endpoints.learn("c:3");
        endpoints.learn("nonsense");
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(endpoints.current().to_owned());
            endpoints.advance();
        }
        assert_eq!(seen, ["a:1", "b:2", "c:3", "a:1"]);
        Ok(())
    }

    #[test]
    fn a_redirect_to_nowhere_goes_on_with_the_next_address() -> Result<(), Error> {
        let mut endpoints = Endpoints::new(["a:1", "b:2"])?;
        endpoints.redirect("nonsense");
        assert_eq!(endpoints.current(), "b:2");
        endpoints.redirect("c:3");
        assert_eq!(endpoints.current(), "c:3");
        Ok(())
    }

    #[test]
    fn what_nodes_tell_is_remembered_up_to_a_bound() -> Result<(), Error> {
        let mut endpoints = Endpoints::new(["a:1"])?;
        for port in 1..1_000 {
            endpoints.learn(&format!("b:{port}"));
        }
        assert_eq!(endpoints.all().len(), MAX_ENDPOINTS);
        Ok(())
    }
}
