//! kv-proto: requests off a client's stream, answers onto it.

use std::hint::black_box;
use std::sync::Arc;

use kv_proto::{
    Bytes, Call, Command, Header, KeyValue, Limits, PutReply, Range, RangeReply, Reply, Request,
    Response, Revision,
};

use crate::samples;
use crate::stream::Stream;

/// The bytes of a put: off the stream, checked, and where they stay.
pub(crate) fn take_put() -> Box<dyn FnMut()> {
    let put = samples::put(1);
    let limits = Limits::default();
    taken(Call::Write(&put), move |call| {
        let Call::Write(bytes) = call else { panic!("a put came back as {call:?}") };
        let command = Command::decode(bytes).expect("it was encoded");
        command.validate(&limits).expect("it keeps to the limits");
        black_box(Arc::<[u8]>::from(bytes));
    })
}

/// A get: off the stream, and checked.
pub(crate) fn take_get() -> Box<dyn FnMut()> {
    let limits = Limits::default();
    taken(Call::Range(Range::key(samples::key(1))), move |call| {
        let Call::Range(range) = call else { panic!("a get came back as {call:?}") };
        range.validate(&limits).expect("it keeps to the limits");
        black_box(range);
    })
}

/// The answer to a put.
pub(crate) fn answer_put() -> Box<dyn FnMut()> {
    answered(|| Reply::Put(PutReply::default()))
}

/// The answer to a get, whose key and value belong to the store.
pub(crate) fn answer_get() -> Box<dyn FnMut()> {
    let pair = KeyValue {
        key: Bytes::from(samples::key(1)),
        value: Bytes::from(samples::value(1)),
        create_revision: Revision::new(2),
        mod_revision: Revision::new(3),
        version: 2,
        lease: None,
    };
    answered(move || {
        Reply::Range(RangeReply { kvs: vec![pair.clone()], count: 1, ..RangeReply::default() })
    })
}

fn taken(call: Call<'_>, check: impl Fn(Call<'_>) + 'static) -> Box<dyn FnMut()> {
    let mut frame = Vec::new();
    let request = Request { id: 7, timeout_millis: 5000, call };
    request.write(&mut frame).expect("it fits a frame");
    let mut stream = Stream::of(frame);
    Box::new(move || {
        check(Request::decode(stream.next_body()).expect("it was encoded").call);
    })
}

fn answered(reply: impl Fn() -> Reply + 'static) -> Box<dyn FnMut()> {
    let mut unsent = Vec::new();
    let header = Header { cluster_id: 1, node_id: 1, revision: Revision::new(3), term: 1 };
    Box::new(move || {
        unsent.clear();
        let response = Response::Done { id: 7, header, reply: reply() };
        response.write(&mut unsent).expect("it fits a frame");
        black_box(&unsent);
    })
}
