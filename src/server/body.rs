//! The body of a response.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::pace::Turn;

/// What a streamed body may fail with; the connection is closed and the client sees a cut response.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response: nothing, bytes, or chunks made while they are sent.
///
/// Chunks of 16 KiB and more are sent best; only streamed bodies are boxed, once.
#[derive(Default)]
pub struct Body {
    content: Content,
    /// Ends the request's turn when the body is sent or given up.
    turn: Option<Turn>,
}

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Full(Bytes),
    Chunks(Box<dyn Iterator<Item = Bytes> + Send>),
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>),
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Chunks, asked for one by one as the client takes them. Their number and length are not known beforehand.
    pub fn chunks(chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Content::Chunks(Box::new(chunks)).into()
    }

    /// Any other body of bytes.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Content::Stream(Box::pin(http_body_util::BodyExt::map_err(body, Into::into))).into()
    }

    /// Keeps `turn` until the body is sent or dropped.
    pub(super) fn hold(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }
}

impl From<Content> for Body {
    fn from(content: Content) -> Self {
        Self { content, turn: None }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Content::Full(bytes).into() }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let content = &mut self.get_mut().content;
        let frame = match content {
            Content::Empty => None,
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *content = Content::Empty;
                Some(Ok(Frame::data(bytes)))
            }
            // An empty chunk would be the end mark of the chunked encoding.
            Content::Chunks(chunks) => chunks.find(|chunk| !chunk.is_empty()).map(|chunk| Ok(Frame::data(chunk))),
            Content::Stream(body) => return body.as_mut().poll_frame(cx),
        };
        if frame.is_none() {
            *content = Content::Empty; // an iterator is not asked again after its end
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(_) | Content::Chunks(_) => false,
            Content::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Chunks(_) => SizeHint::default(),
            Content::Stream(body) => body.size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.content {
            Content::Empty => "Body::Empty",
            Content::Full(_) => "Body::Full",
            Content::Chunks(_) => "Body::Chunks",
            Content::Stream(_) => "Body::Stream",
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn text(body: Body) -> String {
        String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap()
    }

    #[tokio::test]
    async fn every_kind_yields_its_bytes() {
        assert_eq!(text(Body::empty()).await, "");
        assert_eq!(text("one".into()).await, "one");
        assert_eq!(text(Body::from(String::from("two"))).await, "two");
        assert_eq!(text(Body::stream(http_body_util::Full::new(Bytes::from_static(b"three")))).await, "three");
    }

    #[tokio::test]
    async fn empty_chunks_are_skipped() {
        let chunks = ["", "a", "", "b", ""].map(|chunk| Bytes::from_static(chunk.as_bytes()));
        let mut body = Body::chunks(chunks.into_iter());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "b");
        assert!(body.frame().await.is_none());
        assert!(body.is_end_stream());
    }

    #[test]
    fn the_length_is_known_only_where_it_is() {
        assert_eq!(Body::empty().size_hint().exact(), Some(0));
        assert_eq!(Body::from("four").size_hint().exact(), Some(4));
        assert_eq!(Body::chunks(std::iter::empty()).size_hint().exact(), None);
        assert!(Body::from("").is_end_stream());
    }
}
