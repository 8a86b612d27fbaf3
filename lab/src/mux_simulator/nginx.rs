//! Orders to nginx-rtmp, through its control and stat modules.

use crate::http;
use anyhow::{Context, Result};
use reqwest::Url;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// The RTMP application that encoders publish to, as at Mux.
pub const APPLICATION: &str = "app";

/// The ingest's control port.
pub struct Nginx {
    http: reqwest::Client,
    base: Url,
}

impl Nginx {
    pub fn new(control: SocketAddr) -> Result<Self> {
        Ok(Self { http: http::client()?, base: Url::parse(&format!("http://{control}"))? })
    }

    /// Cuts off who publishes under this name; nobody is no error.
    pub async fn drop_publisher(&self, connection: &str) -> Result<()> {
        let url = self.base.join("/control/drop/publisher")?;
        let order = self.http.get(url).query(&[("app", APPLICATION), ("name", connection)]);
        order.send().await.context("nginx takes no orders")?.error_for_status()?;
        Ok(())
    }

    /// The names under which somebody publishes now. When nginx is down that is nobody.
    pub async fn publishers(&self) -> Result<BTreeSet<String>> {
        let answer = match self.http.get(self.base.join("/stat")?).send().await {
            Err(error) if error.is_connect() => return Ok(BTreeSet::new()),
            answer => answer.context("nginx does not tell who publishes")?.error_for_status()?,
        };
        Ok(names(&answer.text().await?))
    }
}

/// Names of streams of the encoders' application in the stat module's XML; an application begins with its own name.
fn names(xml: &str) -> BTreeSet<String> {
    let named = |part: &str| {
        let names = part.split("<name>").skip(1).filter_map(|rest| rest.split_once("</name>"));
        names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    let applications = xml.split("<application>").skip(1).map(named);
    let ours = applications.filter(|names| names.first().is_some_and(|name| name == APPLICATION));
    ours.flat_map(|names| names.into_iter().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_told_from_the_application() {
        let xml = "<rtmp><server><application>\n<name>app</name><live>\n<stream>\n<name>0a1b</name>\n<time>1</time>\
                   </stream><stream><name>2c3d</name></stream></live></application>\
                   <application><name>renamed</name><live><stream><name>4e5f</name></stream></live></application>\
                   </server></rtmp>";
        assert_eq!(names(xml), BTreeSet::from(["0a1b".to_owned(), "2c3d".to_owned()]));
        assert!(names("<rtmp/>").is_empty());
    }
}
