use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A way to a server that fails as networks do: it cuts connections after so
/// many bytes, or goes silent like a pulled cable. Or it is slow where a test
/// wants something to happen meanwhile.
pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
}

/// How many bytes, both directions together, the next connection carries.
type Budget = Box<dyn FnMut() -> u64 + Send>;

/// Whether a request is one that is meant.
type Meant = Box<dyn Fn(&str) -> bool + Send>;

/// Before which request something is to be done, and what.
type Hook = (Meant, Box<dyn FnOnce() + Send>);

struct Shared {
    target: Mutex<String>,
    budget: Mutex<Budget>,
    hook: Mutex<Option<Hook>>,
    refused: Mutex<Meant>,
    connections: Mutex<Vec<Arc<Connection>>>,
    over: AtomicBool,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    left: AtomicU64,
    /// Whether what each end sends is swallowed.
    client_silent: AtomicBool,
    server_silent: AtomicBool,
}

impl Proxy {
    /// A proxy that carries everything.
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let shared = Arc::new(Shared {
            target: Mutex::new(target.to_owned()),
            budget: Mutex::new(Box::new(|| u64::MAX)),
            hook: Mutex::default(),
            refused: Mutex::new(Box::new(|_| false)),
            connections: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || accepting.accept(&listener));
        Self { address, shared }
    }

    /// From now on each new connection carries as many bytes as `budget` says.
    pub fn limit(&self, budget: impl FnMut() -> u64 + Send + 'static) {
        *self.shared.budget.lock().expect("no panic") = Box::new(budget);
    }

    /// The next request for which `is_it` holds waits until `deed` is done.
    pub fn before(
        &self,
        is_it: impl Fn(&str) -> bool + Send + 'static,
        deed: impl FnOnce() + Send + 'static,
    ) {
        let hook: Hook = (Box::new(is_it), Box::new(deed));
        *self.shared.hook.lock().expect("no panic") = Some(hook);
    }

    /// From now on each request for which `is_it` holds cuts its connection.
    pub fn refuse(&self, is_it: impl Fn(&str) -> bool + Send + 'static) {
        *self.shared.refused.lock().expect("no panic") = Box::new(is_it);
    }

    /// From now on each new connection goes to this server.
    pub fn lead_to(&self, target: &str) {
        *self.shared.target.lock().expect("no panic") = target.to_owned();
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        for connection in self.shared.connections.lock().expect("no panic").drain(..) {
            connection.cut();
        }
    }

    /// Every connection that there is carries nothing any more, not even its
    /// end. New ones are not concerned.
    pub fn silence(&self) {
        for connection in self.shared.connections.lock().expect("no panic").iter() {
            connection.client_silent.store(true, Ordering::SeqCst);
            connection.server_silent.store(true, Ordering::SeqCst);
        }
    }

    /// As [`silence`](Self::silence), but the server still hears the client.
    pub fn deafen(&self) {
        for connection in self.shared.connections.lock().expect("no panic").iter() {
            connection.server_silent.store(true, Ordering::SeqCst);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(&self.address); // wakes the thread that accepts
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().map_while(Result::ok) {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let target = self.target.lock().expect("no panic").clone();
            let Ok(server) = TcpStream::connect(target) else {
                continue; // closes the client's end: no server is there
            };
            let left = (self.budget.lock().expect("no panic"))();
            let connection = Arc::new(Connection {
                client,
                server,
                left: AtomicU64::new(left),
                client_silent: AtomicBool::new(false),
                server_silent: AtomicBool::new(false),
            });
            let mut connections = self.connections.lock().expect("no panic");
            connections.push(connection.clone());
            drop(connections);
            let back = connection.clone();
            let shared = self.clone();
            std::thread::spawn(move || {
                let Connection { client, server, .. } = &*connection;
                let look = |request: &[u8]| shared.look(request);
                connection.carry(client, server, &connection.client_silent, look);
            });
            std::thread::spawn(move || {
                back.carry(&back.server, &back.client, &back.server_silent, |_| true);
            });
        }
    }

    /// Does what is to be done before a request. Returns whether it may pass.
    fn look(&self, request: &[u8]) -> bool {
        let request = String::from_utf8_lossy(request);
        let hook = (self.hook.lock().expect("no panic")).take_if(|(is_it, _)| is_it(&request));
        if let Some((_, deed)) = hook {
            deed();
        }
        !(self.refused.lock().expect("no panic"))(&request)
    }
}

impl Connection {
    fn carry(
        &self,
        mut from: &TcpStream,
        mut to: &TcpStream,
        silent: &AtomicBool,
        look: impl Fn(&[u8]) -> bool,
    ) {
        let mut chunk = [0; 4096];
        loop {
            let read = from.read(&mut chunk).unwrap_or(0);
            if !look(&chunk[..read]) {
                return self.cut();
            }
            if silent.load(Ordering::SeqCst) {
                match read {
                    0 => return, // nobody is told
                    _ => continue,
                }
            }
            let before = self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    Some(left.saturating_sub(read as u64))
                })
                .expect("the closure always has a value");
            let allowed = usize::try_from(before).unwrap_or(usize::MAX).min(read);
            let written = to.write_all(&chunk[..allowed]);
            if read == 0 || allowed < read || written.is_err() {
                return self.cut();
            }
        }
    }

    fn cut(&self) {
        // An end may be closed already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}
