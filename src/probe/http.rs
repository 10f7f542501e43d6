//! `http URL [status N] [contains TEXT]`: one GET request on a new connection. No more of the response is read than needed.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::tcp;
use crate::model::health::HttpProbe;
use crate::sys::http::{self, read};

/// How many bytes of a page are searched for a text.
const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// How many characters of a first line are shown.
const MAX_LINE_CHARS: usize = 60;

/// A web page that is to answer.
pub(super) struct WebProbe(pub HttpProbe);

impl WebProbe {
    pub async fn run(&self) -> Result<String, String> {
        self.ask(tcp::connect(self.0.server).await?).await
    }

    /// Sends the request on a connection, and judges the response.
    pub async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
    ) -> Result<String, String> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: had\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.0.path, self.0.host
        );
        let broken = |e: std::io::Error| format!("{}: {}", self.0.server, tcp::error_text(&e));
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let mut answer = Vec::new();
        let read = http::read_head(&mut stream, &mut answer).await;
        let Some(head) = read.map_err(broken)? else {
            return Err(self.no_http(&answer));
        };
        let page = answer.split_off(head.min(answer.len()));
        let status = http::parse_status(&answer).ok_or_else(|| self.no_http(&answer))?;
        self.check_status(status)?;
        if let Some(text) = &self.0.contains {
            let chunked = is_chunked(&answer);
            find_text(&mut stream, page, chunked, text.as_bytes())
                .await
                .map_err(|e| format!("status {status}, {e}"))?;
        }
        Ok(format!("status {status}"))
    }

    fn no_http(&self, head: &[u8]) -> String {
        let line = String::from_utf8_lossy(head);
        match line.lines().next().filter(|l| !l.is_empty()) {
            None => format!("{} closed the connection without an answer", self.0.server),
            Some(line) => {
                let line: String = line.chars().take(MAX_LINE_CHARS).collect();
                format!("{} does not speak HTTP: {line}", self.0.server)
            }
        }
    }

    fn check_status(&self, status: u16) -> Result<(), String> {
        match self.0.status {
            Some(wanted) if wanted != status => Err(format!("status {status} instead of {wanted}")),
            None if !(200..400).contains(&status) => Err(format!("status {status}")),
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads until the text is found, or the page ends or is too long.
async fn find_text<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut page: Vec<u8>,
    chunked: bool,
    text: &[u8],
) -> Result<(), String> {
    loop {
        let found = if chunked {
            find(&unchunked(&page), text).is_some()
        } else {
            find(&page, text).is_some()
        };
        if found {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(text);
        if page.len() > MAX_PAGE_BYTES {
            return Err(format!(
                "`{shown}` is not in the first {MAX_PAGE_BYTES} bytes"
            ));
        }
        // At the end of the page the server closes the connection, as the request asks.
        if !matches!(read(stream, &mut page).await, Ok(1..)) {
            return Err(format!("the page does not contain `{shown}`"));
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len().max(1)).position(|w| w == wanted)
}

fn is_chunked(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut fields = head.lines().filter_map(|l| l.split_once(':'));
    fields.any(|(name, value)| name == "transfer-encoding" && value.contains("chunked"))
}

/// The content of the chunks, the last of which may be incomplete. Stops at anything that is not a chunk.
fn unchunked(mut page: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some(end) = find(page, b"\r\n") {
        let line = String::from_utf8_lossy(page.get(..end).unwrap_or(&[])).into_owned();
        let size = line.split(';').next().unwrap_or("").trim();
        let Ok(size @ 1..) = usize::from_str_radix(size, 16) else {
            break;
        };
        let data = page.get(end.saturating_add(2)..).unwrap_or(&[]);
        text.extend(data.get(..size.min(data.len())).unwrap_or(&[]));
        page = data.get(size.saturating_add(2)..).unwrap_or(&[]);
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Probes a server that answers one request with these pieces. Returns the result, and the request.
    async fn probe_server(
        pieces: Vec<Vec<u8>>,
        wanted: (Option<u16>, Option<&str>),
    ) -> (Result<String, String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while find(&request, b"\r\n\r\n").is_none() {
                read(&mut stream, &mut request).await.unwrap();
            }
            for piece in pieces {
                // The probe may have read enough and closed the connection.
                if stream.write_all(&piece).await.is_err() {
                    break;
                }
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            String::from_utf8(request).unwrap()
        };
        let probe = HttpProbe {
            server,
            at: false,
            tls: None,
            host: "localhost:8080".into(),
            path: "/up?x=1".into(),
            status: wanted.0,
            contains: wanted.1.map(str::to_owned),
        };
        let http = WebProbe(probe);
        tokio::join!(http.run(), serve)
    }

    async fn probe(
        answer: &str,
        status: Option<u16>,
        contains: Option<&str>,
    ) -> Result<String, String> {
        let pieces = answer.as_bytes().chunks(7).map(<[u8]>::to_vec).collect();
        let (seen, _) = probe_server(pieces, (status, contains)).await;
        seen.map_err(|e| match e.split_once(' ') {
            Some((server, rest)) if server.starts_with("127.") => rest.to_owned(),
            _ => e,
        })
    }

    #[tokio::test]
    async fn status_and_page_decide() {
        const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n4\r\nI am\r\nb;x=y\r\n very well.\r\n0\r\n\r\n";
        for (answer, status, contains, wanted) in [
            ("HTTP/1.1 200 OK\r\n\r\nfine", None, None, Ok("status 200")),
            ("HTTP/1.0 301 Moved\r\n\r\n", None, None, Ok("status 301")),
            (
                "HTTP/1.1 500 Oops\r\n\r\nfine",
                None,
                None,
                Err("status 500"),
            ),
            ("HTTP/1.1 404 No\r\n\r\n", None, None, Err("status 404")),
            ("HTTP/1.1 404 No\r\n\r\n", Some(404), None, Ok("status 404")),
            (
                "HTTP/1.1 204\r\n\r\n",
                Some(200),
                None,
                Err("status 204 instead of 200"),
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\nI am fine",
                None,
                Some("am fine"),
                Ok("status 200"),
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\nill",
                None,
                Some("fine"),
                Err("status 200, the page does not contain `fine`"),
            ),
            (CHUNKED, None, Some("am very"), Ok("status 200")),
            (
                CHUNKED,
                None,
                Some("b;x"),
                Err("status 200, the page does not contain `b;x`"),
            ),
            (
                "SSH-2.0-x\r\n\r\n",
                None,
                None,
                Err("does not speak HTTP: SSH-2.0-x"),
            ),
            (
                "HTTP/1.1 2000 OK\r\n\r\n",
                None,
                None,
                Err("does not speak HTTP: HTTP/1.1 2000 OK"),
            ),
            (
                "HTTP/1.1 abc\r\n\r\n",
                None,
                None,
                Err("does not speak HTTP: HTTP/1.1 abc"),
            ),
            (
                "",
                None,
                None,
                Err("closed the connection without an answer"),
            ),
        ] {
            let seen = probe(answer, status, contains).await;
            let wanted = wanted.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(seen, wanted, "{answer:?} {status:?} {contains:?}");
        }
    }

    #[tokio::test]
    async fn the_request_is_plain_http() {
        let (_, request) =
            probe_server(vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], (None, None)).await;
        assert!(
            request.starts_with("GET /up?x=1 HTTP/1.1\r\nHost: localhost:8080\r\n"),
            "{request}"
        );
        assert!(request.contains("\r\nConnection: close\r\n"), "{request}");
    }

    #[tokio::test]
    async fn an_endless_response_is_not_read_to_its_end() {
        let head = vec![vec![b'x'; 8192]; 1000];
        let (seen, _) = probe_server(head, (None, None)).await;
        assert!(seen.unwrap_err().contains("does not speak HTTP"));
        let mut page = vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()];
        page.extend(vec![vec![b'x'; 65536]; 64]);
        let (seen, _) = probe_server(page, (None, Some("fine"))).await;
        assert_eq!(
            seen.unwrap_err(),
            "status 200, `fine` is not in the first 1048576 bytes"
        );
    }
}
