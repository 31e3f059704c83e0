use std::time::Duration;

use chitchat::server::{Server, Settings};

/// A server in this process, on a port of its own.
pub struct TestServer {
    server: Option<Server>,
    pub address: String,
}

impl TestServer {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            listen: vec!["127.0.0.1:0".to_owned()],
            ..Settings::default()
        };
        change(&mut settings);
        let server = Server::start(settings).expect("the server starts");
        let address = server.addresses()[0].clone();
        Self {
            server: Some(server),
            address,
        }
    }

    pub fn metrics_address(&self) -> String {
        let server = self.server.as_ref().expect("it runs");
        server
            .metrics_address()
            .expect("it has metrics")
            .to_string()
    }

    /// Stops it as a signal would. Returns whether everybody got everything.
    pub fn stop(mut self) -> bool {
        self.server
            .take()
            .expect("it runs")
            .stop(Duration::from_secs(20))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(Duration::from_secs(2));
        }
    }
}
