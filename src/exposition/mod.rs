//! The text of `/metrics`.
#![allow(missing_docs)]
use crate::config::Config;
use crate::execution::Timestamp;
use crate::store::View;
pub use crate::text::Format;
use bytes::Bytes;
#[derive(Debug)]
pub struct Settings;
impl Settings {
    pub fn new(_: &Config) -> Self {
        Self
    }
}
pub type Scrape = std::vec::IntoIter<Bytes>;
pub fn render(_: View, _: &Settings, _: Timestamp, _: Format, own: Vec<u8>) -> Scrape {
    vec![Bytes::from(own)].into_iter()
}
pub fn negotiate(_: Option<&str>) -> Format {
    Format::Text004
}
pub fn accepts_gzip(_: Option<&str>) -> bool {
    false
}
pub fn gzip(s: Scrape) -> Scrape {
    s
}
