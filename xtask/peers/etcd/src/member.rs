//! One connection to one member of etcd.

use std::str::FromStr;

use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::messages::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, StatusRequest, StatusResponse,
};

/// A connection; clones share it.
#[derive(Clone)]
pub struct Member(Grpc<Channel>);

impl Member {
    /// Connects to `HOST:PORT`.
    pub async fn connect(address: &str) -> Result<Self, String> {
        let endpoint = Endpoint::from_str(&format!("http://{address}"));
        let endpoint = endpoint.map_err(|error| format!("{address} is no address: {error}"))?;
        let channel = endpoint.tcp_nodelay(true).connect().await;
        let channel = channel.map_err(|error| format!("{address} cannot be reached: {error}"))?;
        Ok(Self(Grpc::new(channel)))
    }

    pub async fn put(&mut self, put: PutRequest) -> Result<PutResponse, Status> {
        self.call("/etcdserverpb.KV/Put", put).await
    }

    pub async fn range(&mut self, range: RangeRequest) -> Result<RangeResponse, Status> {
        self.call("/etcdserverpb.KV/Range", range).await
    }

    pub async fn leads(&mut self) -> Result<bool, Status> {
        let status: StatusResponse =
            self.call("/etcdserverpb.Maintenance/Status", StatusRequest {}).await?;
        Ok(status.header.is_some_and(|header| header.member_id == status.leader))
    }

    async fn call<Q, A>(&mut self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<Q, A>::default();
        Ok(self.0.unary(Request::new(message), path, codec).await?.into_inner())
    }
}
