//! `tcp ADDR:PORT`: a server accepts connections.

use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Connects and closes the connection.
pub(super) async fn run(server: SocketAddr) -> Result<String, String> {
    match connect(server).await {
        Ok(_) => Ok(format!("{server} accepts connections")),
        Err(e) => Err(e),
    }
}

/// Connects. The error is a text for an administrator.
pub(super) async fn connect(server: SocketAddr) -> Result<TcpStream, String> {
    let refused = |e: std::io::Error| format!("{server}: {}", error_text(&e));
    TcpStream::connect(server).await.map_err(refused)
}

/// The text of an error, without its number.
pub(super) fn error_text(error: &std::io::Error) -> String {
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
        assert_eq!(
            run(server).await,
            Ok(format!("{server} accepts connections"))
        );
        drop(listener);
        let refused = format!("{server}: Connection refused");
        assert_eq!(run(server).await, Err(refused));
    }
}
