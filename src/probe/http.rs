//! `http URL [status N] [contains TEXT]`: one GET, its own connection, and no more of the answer than is needed.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tcp;
use crate::model::health::HttpProbe;

/// The most that is read of the head of an answer.
const HEAD_MAX: usize = 16 * 1024;
/// The most that is read of a page, and only where something is looked for in it.
const PAGE_MAX: usize = 1024 * 1024;
/// So much is read at once.
const PIECE: usize = 8192;
/// The most that is shown of a first line.
const LINE_MAX: usize = 60;

/// One page.
pub(super) struct Http(pub HttpProbe);

impl Http {
    pub async fn look(&self) -> Result<String, String> {
        let mut stream = tcp::connect(self.0.server).await?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: had\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.0.path, self.0.host
        );
        let broken = |e: std::io::Error| format!("{}: {}", self.0.server, tcp::plain(&e));
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut answer = Vec::new();
        let head = loop {
            if let Some(end) = find(&answer, b"\r\n\r\n") {
                break end;
            }
            if answer.len() > HEAD_MAX || read(&mut stream, &mut answer).await.map_err(broken)? == 0
            {
                return Err(self.no_answer(&answer));
            }
        };
        let page = answer.split_off(head.saturating_add(4).min(answer.len()));
        let status = status_of(&answer).ok_or_else(|| self.no_answer(&answer))?;
        self.judge_status(status)?;
        if let Some(text) = &self.0.contains {
            let chunked = is_chunked(&answer);
            contains(&mut stream, page, chunked, text.as_bytes())
                .await
                .map_err(|e| format!("status {status}, {e}"))?;
        }
        Ok(format!("status {status}"))
    }

    fn no_answer(&self, head: &[u8]) -> String {
        let line = String::from_utf8_lossy(head);
        match line.lines().next().filter(|l| !l.is_empty()) {
            None => format!("{} hung up without an answer", self.0.server),
            Some(line) => {
                let line: String = line.chars().take(LINE_MAX).collect();
                format!("{} does not speak HTTP: {line}", self.0.server)
            }
        }
    }

    fn judge_status(&self, status: u16) -> Result<(), String> {
        match self.0.status {
            Some(wanted) if wanted != status => Err(format!("status {status}, not {wanted}")),
            None if !(200..400).contains(&status) => Err(format!("status {status}")),
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads some more; how much.
async fn read(stream: &mut TcpStream, into: &mut Vec<u8>) -> std::io::Result<usize> {
    into.reserve(PIECE);
    stream.read_buf(into).await
}

/// Reads until the text is there, or the page is over or too long.
async fn contains(
    stream: &mut TcpStream,
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
        if page.len() > PAGE_MAX {
            return Err(format!("`{shown}` is not in the first {PAGE_MAX} bytes"));
        }
        // A server that is done closes the connection: we asked for that.
        if !matches!(read(stream, &mut page).await, Ok(1..)) {
            return Err(format!("the page does not contain `{shown}`"));
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len().max(1)).position(|w| w == wanted)
}

/// The number in `HTTP/1.1 200 OK`.
fn status_of(head: &[u8]) -> Option<u16> {
    let line = String::from_utf8_lossy(head);
    let (version, rest) = line.lines().next()?.split_once(' ')?;
    let number = rest.get(..3)?;
    let status = number.parse().ok().filter(|s| (100..600).contains(s))?;
    version.starts_with("HTTP/1.").then_some(status)
}

fn is_chunked(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut fields = head.lines().filter_map(|l| l.split_once(':'));
    fields.any(|(name, value)| name == "transfer-encoding" && value.contains("chunked"))
}

/// What whole and half chunks carry. What is no chunk ends it.
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

    /// A server that answers one request with these bytes, in these pieces; and what it was asked.
    async fn asked(
        pieces: Vec<Vec<u8>>,
        wishes: (Option<u16>, Option<&str>),
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
                // The one who looks may have seen enough and be gone.
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
            host: "localhost:8080".into(),
            path: "/up?x=1".into(),
            status: wishes.0,
            contains: wishes.1.map(str::to_owned),
        };
        let http = Http(probe);
        tokio::join!(http.look(), serve)
    }

    async fn look(
        answer: &str,
        status: Option<u16>,
        contains: Option<&str>,
    ) -> Result<String, String> {
        let pieces = answer.as_bytes().chunks(7).map(<[u8]>::to_vec).collect();
        let (seen, _) = asked(pieces, (status, contains)).await;
        seen.map_err(|e| match e.split_once(' ') {
            Some((server, rest)) if server.starts_with("127.") => rest.to_owned(),
            _ => e,
        })
    }

    #[tokio::test]
    async fn status_and_page_are_judged() {
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
                Err("status 204, not 200"),
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
            ("HTTP/1.1 2000 OK\r\n\r\n", None, None, Ok("status 200")),
            (
                "HTTP/1.1 abc\r\n\r\n",
                None,
                None,
                Err("does not speak HTTP: HTTP/1.1 abc"),
            ),
            ("", None, None, Err("hung up without an answer")),
        ] {
            let seen = look(answer, status, contains).await;
            let wanted = wanted.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(seen, wanted, "{answer:?} {status:?} {contains:?}");
        }
    }

    #[tokio::test]
    async fn it_asks_as_a_browser_does() {
        let (_, request) = asked(vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], (None, None)).await;
        assert!(
            request.starts_with("GET /up?x=1 HTTP/1.1\r\nHost: localhost:8080\r\n"),
            "{request}"
        );
        assert!(request.contains("\r\nConnection: close\r\n"), "{request}");
    }

    #[tokio::test]
    async fn no_answer_is_read_without_end() {
        let head = vec![vec![b'x'; 8192]; 1000];
        let (seen, _) = asked(head, (None, None)).await;
        assert!(seen.unwrap_err().contains("does not speak HTTP"));
        let mut page = vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()];
        page.extend(vec![vec![b'x'; 65536]; 64]);
        let (seen, _) = asked(page, (None, Some("fine"))).await;
        assert_eq!(
            seen.unwrap_err(),
            "status 200, `fine` is not in the first 1048576 bytes"
        );
    }
}
