//! The search service over gRPC: a server over any [`Search`], and a client which is one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    DeploymentRef, Error, IndexId, Result, Search, SearchIndexState, TextMatch, TextMatches, TextSearch,
    VectorMatch, VectorSearch, WrittenText, code,
};
use futures::future::BoxFuture;
use prost::Message;
use proto::{
    common::v1::{Nothing, Piece},
    search::v1::{
        self as wire, search_client::SearchClient, search_reply::Reply, search_request::Call, search_server,
    },
};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    calls::{Answers, Caller, Opened, opened, serve},
    convert::{self, Decoded, Malformed, decoded, present, sixteen},
    errors,
    limits::RpcLimits,
    version::{self, Checked},
};

/// The gRPC service of the search service in this process.
pub struct SearchServer {
    search: Arc<dyn Search>,
    limits: RpcLimits,
}

impl SearchServer {
    /// The service, with the limits that clients have as well.
    pub fn service(
        search: Arc<dyn Search>,
        limits: RpcLimits,
    ) -> Checked<search_server::SearchServer<SearchServer>> {
        let bytes_max = limits.message_bytes_max;
        let service = search_server::SearchServer::new(SearchServer { search, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        version::checked(service)
    }
}

fn bytes_of(id: &[u8; 16]) -> Bytes {
    Bytes::copy_from_slice(id)
}

fn document_id(id: &Bytes) -> Decoded<[u8; 16]> {
    sixteen(id, "a document's id")
}

fn written_to_wire(written: WrittenText) -> wire::WrittenText {
    wire::WrittenText {
        id: bytes_of(&written.id),
        creation_time_bits: written.creation_time_bits,
        filters: written.filters.iter().map(bytes_of).collect(),
        terms: written.terms.into_iter().map(|(term, count)| wire::TermCount { term, count }).collect(),
    }
}

fn written(written: wire::WrittenText) -> Decoded<WrittenText> {
    let filter = |value: &Bytes| sixteen(value, "a filter's value");
    Ok(WrittenText {
        id: document_id(&written.id)?,
        creation_time_bits: written.creation_time_bits,
        filters: written.filters.iter().map(filter).collect::<Decoded<_>>()?,
        terms: written.terms.into_iter().map(|term| (term.term, term.count)).collect(),
    })
}

fn text_search(deployment: DeploymentRef, index: IndexId, search: wire::TextSearch) -> Decoded<TextSearch> {
    Ok(TextSearch {
        deployment,
        index,
        at: convert::timestamp(search.at)?,
        condition: convert::condition(present(search.condition, "the condition")?)?,
        matches_max: search.matches_max as usize,
        replaced: search.replaced.iter().map(document_id).collect::<Decoded<_>>()?,
        written: search.written.into_iter().map(written).collect::<Decoded<_>>()?,
    })
}

fn vector_search(
    deployment: DeploymentRef,
    index: IndexId,
    search: wire::VectorSearch,
) -> Decoded<VectorSearch> {
    Ok(VectorSearch {
        deployment,
        index,
        not_before: convert::timestamp(search.not_before)?,
        vector: search.vector,
        any_of: search.any_of.into_iter().map(convert::filter).collect::<Decoded<_>>()?,
        matches_max: search.matches_max as usize,
    })
}

async fn answer(search: Arc<dyn Search>, content: Bytes) -> Result<Reply> {
    let request: wire::SearchRequest = decoded(content).map_err(Malformed::request)?;
    let deployment = convert::deployment(request.deployment).map_err(Malformed::request)?;
    let index = convert::index_id(&request.index).map_err(Malformed::request)?;
    Ok(match present(request.call, "the call").map_err(Malformed::request)? {
        Call::Text(text) => {
            let text = text_search(deployment, index, text).map_err(Malformed::request)?;
            let TextMatches { matches, more } = search.search_text(text).await?;
            let matches = matches.iter().map(|found| wire::TextMatch {
                id: bytes_of(&found.id),
                creation_time_bits: found.creation_time_bits,
                score_bits: found.score_bits,
            });
            Reply::Text(wire::TextMatches { matches: matches.collect(), more })
        }
        Call::Vectors(vectors) => {
            let vectors = vector_search(deployment, index, vectors).map_err(Malformed::request)?;
            let matches = search.search_vectors(vectors).await?;
            let matches =
                matches.iter().map(|found| wire::VectorMatch { id: bytes_of(&found.id), score: found.score });
            Reply::Vectors(wire::VectorMatches { matches: matches.collect() })
        }
        Call::State(Nothing {}) => {
            let SearchIndexState { is_complete, documents } = search.search_index(deployment, index).await?;
            Reply::State(wire::IndexState { is_complete, documents })
        }
    })
}

#[tonic::async_trait]
impl search_server::Search for SearchServer {
    type CallStream = Answers;

    async fn call(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::CallStream>, Status> {
        let search = self.search.clone();
        let work = move |content| answer(search.clone(), content);
        let answers = serve(calls.into_inner(), self.limits.of_functions(), work, |result| {
            let failed = |error| Reply::Error(errors::to_wire(error));
            wire::SearchReply { reply: Some(result.unwrap_or_else(failed)) }.encode_to_vec().into()
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Calls a search service over a channel. Its stream ends with it.
pub struct GrpcSearch {
    calls: Caller,
}

impl GrpcSearch {
    pub fn new(channel: Channel, limits: RpcLimits) -> GrpcSearch {
        let client = SearchClient::new(version::line(channel))
            .max_decoding_message_size(limits.message_bytes_max)
            .max_encoding_message_size(limits.message_bytes_max);
        let open = move |calls| -> BoxFuture<'static, Opened> {
            let mut client = client.clone();
            Box::pin(async move { opened(client.call(calls).await) })
        };
        GrpcSearch { calls: Caller::new(Box::new(open), limits.of_functions()) }
    }

    async fn ask(&self, deployment: DeploymentRef, index: IndexId, call: Call) -> Result<Reply> {
        let request = wire::SearchRequest {
            deployment: Some(convert::deployment_to_wire(deployment)),
            index: convert::index_bytes(index),
            call: Some(call),
        };
        let answer =
            self.calls.call(request.encode_to_vec().into()).await.map_err(|failed| away(failed.into()))?;
        let reply: wire::SearchReply = decoded(answer).map_err(Malformed::answer)?;
        match present(reply.reply, "the answer").map_err(Malformed::answer)? {
            Reply::Error(error) => Err(errors::from_wire(error)),
            reply => Ok(reply),
        }
    }
}

/// A search has no effect: that nobody answers is all that its caller need know.
fn away(error: Error) -> Error {
    if ![code::NODE_UNREACHABLE, code::CONNECTION_LOST, code::CALL_TIMED_OUT].contains(&&*error.code) {
        return error;
    }
    tracing::debug!(%error, "the search service is away");
    Error::overloaded("SearchIndexesUnavailable", "the search service does not answer. Try again.")
}

fn text_match(found: wire::TextMatch) -> Decoded<TextMatch> {
    Ok(TextMatch {
        id: document_id(&found.id)?,
        creation_time_bits: found.creation_time_bits,
        score_bits: found.score_bits,
    })
}

fn vector_match(found: wire::VectorMatch) -> Decoded<VectorMatch> {
    Ok(VectorMatch { id: document_id(&found.id)?, score: found.score })
}

fn matches_max(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[async_trait]
impl Search for GrpcSearch {
    async fn search_text(&self, search: TextSearch) -> Result<TextMatches> {
        let call = Call::Text(wire::TextSearch {
            at: search.at.as_nanoseconds(),
            condition: Some(convert::condition_to_wire(&search.condition)),
            matches_max: matches_max(search.matches_max),
            replaced: search.replaced.iter().map(bytes_of).collect(),
            written: search.written.into_iter().map(written_to_wire).collect(),
        });
        match self.ask(search.deployment, search.index, call).await? {
            Reply::Text(wire::TextMatches { matches, more }) => {
                let matches = matches.into_iter().map(text_match).collect::<Decoded<_>>();
                Ok(TextMatches { matches: matches.map_err(Malformed::answer)?, more })
            }
            _ => Err(errors::of_another_call()),
        }
    }

    async fn search_vectors(&self, search: VectorSearch) -> Result<Vec<VectorMatch>> {
        let call = Call::Vectors(wire::VectorSearch {
            not_before: search.not_before.as_nanoseconds(),
            vector: search.vector,
            any_of: search.any_of.iter().map(convert::filter_to_wire).collect(),
            matches_max: matches_max(search.matches_max),
        });
        match self.ask(search.deployment, search.index, call).await? {
            Reply::Vectors(wire::VectorMatches { matches }) => {
                matches.into_iter().map(vector_match).collect::<Decoded<_>>().map_err(Malformed::answer)
            }
            _ => Err(errors::of_another_call()),
        }
    }

    async fn search_index(&self, deployment: DeploymentRef, index: IndexId) -> Result<SearchIndexState> {
        match self.ask(deployment, index, Call::State(Nothing {})).await? {
            Reply::State(wire::IndexState { is_complete, documents }) => {
                Ok(SearchIndexState { is_complete, documents })
            }
            _ => Err(errors::of_another_call()),
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId, Timestamp};
    use tonic::transport::Endpoint;

    use super::*;

    #[tokio::test]
    async fn that_the_service_is_away_is_said_without_how() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = nobody.local_addr().expect("it has one");
        drop(nobody);
        let channel = Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy();
        let search = VectorSearch {
            deployment: DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) },
            index: IndexId([1; 16]),
            not_before: Timestamp::ZERO,
            vector: vec![1.0],
            any_of: Vec::new(),
            matches_max: 1,
        };
        let error = GrpcSearch::new(channel, RpcLimits::DEFAULT).search_vectors(search).await.unwrap_err();
        assert_eq!(error.code, "SearchIndexesUnavailable");
        assert!(!error.message.contains(&address.to_string()) && !error.message.contains("tonic"), "{error}");
    }
}
