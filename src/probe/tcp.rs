//! `tcp ADDR:PORT`: somebody accepts a connection there.

use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Connects and hangs up.
pub(super) async fn look(server: SocketAddr) -> Result<String, String> {
    match connect(server).await {
        Ok(_) => Ok(format!("{server} accepts")),
        Err(e) => Err(e),
    }
}

/// A connection, or in words why not.
pub(super) async fn connect(server: SocketAddr) -> Result<TcpStream, String> {
    let refused = |e: std::io::Error| format!("{server}: {}", plain(&e));
    TcpStream::connect(server).await.map_err(refused)
}

/// Without the number of the error.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_tells_an_open_port_from_a_closed_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        assert_eq!(look(server).await, Ok(format!("{server} accepts")));
        drop(listener);
        let refused = format!("{server}: Connection refused");
        assert_eq!(look(server).await, Err(refused));
    }
}
