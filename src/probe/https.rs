//! `https URL ... [ca FILE] [days N]`: as `http`, over TLS, from a server that proves its name.

use super::http::WebProbe;
use super::tcp;
use crate::model::health::{HttpProbe, TlsWishes};
use crate::sys::tls::Trust;
use crate::text::Mistake;

/// A web page that is to answer over TLS.
pub(super) struct SecureWebProbe {
    page: WebProbe,
    wishes: TlsWishes,
}

impl SecureWebProbe {
    pub fn new(probe: &HttpProbe, wishes: &TlsWishes) -> Self {
        SecureWebProbe {
            page: WebProbe(probe.clone()),
            wishes: wishes.clone(),
        }
    }

    pub async fn run(&self) -> Result<String, String> {
        let TlsWishes { name, ca, days } = &self.wishes;
        // Read each time, which takes a few milliseconds: an administrator may have changed them.
        let trust = Trust::load(ca.as_deref())?;
        let server = self.page.0.server;
        let stream = tcp::connect(server).await?;
        let named = |error: String| format!("{server}: {error}");
        let stream = trust.connect(stream, name).await.map_err(named)?;
        if let Some(days) = days {
            trust.check_days(&stream, name, *days).map_err(named)?;
        }
        self.page.ask(stream).await
    }
}

/// Checks that the authorities can be read.
pub(super) fn validate(wishes: &TlsWishes) -> Result<(), Mistake> {
    let loaded = Trust::load(wishes.ca.as_deref());
    loaded.map(|_| ()).map_err(Mistake::new)
}
